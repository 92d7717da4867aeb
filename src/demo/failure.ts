/** The demo could not come to its end, and the message says what is left: exit code 1, without a result. */
export class DemoFailure extends Error {}
