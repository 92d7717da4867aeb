/** A definite no: the provider has refused, and nothing was done. Made by `failed(…)` of a call. */
export class Failed<Failure = unknown> {
  readonly failure: Failure
  readonly #made = true

  constructor(failure: Failure) {
    this.failure = failure
  }

  static is(value: unknown): value is Failed {
    return typeof value === 'object' && value !== null && #made in value
  }
}

/** No definite answer. Made by `unknown(…)` of a call; whatever a call throws means the same. */
export class Unanswered {
  readonly reason: string
  readonly status: number | undefined
  readonly #made = true

  constructor(reason: string, status?: number) {
    this.reason = reason
    this.status = status
  }

  static is(value: unknown): value is Unanswered {
    return typeof value === 'object' && value !== null && #made in value
  }
}

/** What is left of an answer when refusals and silence are taken away: the response that will be recorded. */
export type ResponseOf<Answer> = Exclude<Answer, Failed | Unanswered>

/** What a refusal carries; `never` when the call makes none. */
export type FailureOf<Answer> = Answer extends Failed<infer Failure> ? Failure : never

/** What a call to the provider is given. */
export interface EffectCall {
  readonly operation: string
  /** Hand it to the provider. The same for every repetition: made of the operation, never of the attempt or the message. */
  readonly idempotencyKey: string
  /** Fires when the call's time is over or its claim cannot be kept: what came of it is unknown then. Hand it to `fetch`. */
  readonly signal: AbortSignal
  /** Which call of this operation it is, 1 for the first. */
  readonly attempt: number
  /** To be returned: the provider has definitely refused (declined, invalid, not found), and nothing was done. */
  readonly failed: <Failure>(failure: Failure) => Failed<Failure>
  /** To be returned: nobody can say. Give the HTTP status when there was one; 500 and above are counted. */
  readonly unknown: (reason: string, details?: { readonly status?: number }) => Unanswered
}

export const failed = <Failure>(failure: Failure): Failed<Failure> => new Failed(failure)

export const unknown = (reason: string, { status }: { readonly status?: number } = {}): Unanswered =>
  new Unanswered(reason, status)
