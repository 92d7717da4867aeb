const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** The first Ctrl-C asks for an orderly end, the second one ends at once. */
export class Interruption {
  readonly #controller = new AbortController()
  exitCode = 0

  constructor() {
    for (const name of Object.keys(SIGNALS)) process.on(name, this.#answer)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  [Symbol.dispose](): void {
    for (const name of Object.keys(SIGNALS)) process.off(name, this.#answer)
  }

  readonly #answer = (name: keyof typeof SIGNALS): void => {
    if (this.signal.aborted) process.exit(SIGNALS[name])
    this.exitCode = SIGNALS[name]
    this.#controller.abort()
  }
}
