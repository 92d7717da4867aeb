import type { AnyTransaction } from '../transaction-handle.ts'

/** What recording came to. `duplicate`: it was recorded before, together with what the work wrote then, and the work was not called. */
export type Recorded<Value> = { readonly status: 'recorded'; readonly value: Value } | { readonly status: 'duplicate' }

/** Records an outcome in your transaction, and calls the work there: once per operation, however many messages ask for it. */
export interface RecordOutcome {
  (tx: AnyTransaction): Promise<Recorded<undefined>>
  <Value>(tx: AnyTransaction, work: () => Value | Promise<Value>): Promise<Recorded<Value>>
}

interface Known {
  readonly operation: string
  /** It had been recorded before this run: a duplicate gets what the original got. */
  readonly replayed: boolean
  /**
   * Records the outcome in your transaction, together with the rows, messages and delivery that belong to it. The work is
   * called once per operation; when it throws, its writes and the record are rolled back to before the call, and its error is
   * yours. `EffectLost` when another claim has taken over meanwhile: let the transaction roll back.
   */
  readonly record: RecordOutcome
}

/** It happened. */
export interface SucceededEffect<Response> extends Known {
  readonly status: 'succeeded'
  /** As it is stored, whoever asks: the first caller gets what every duplicate gets. */
  readonly response: Response
}

/** It definitely did not happen: the provider refused. */
export interface DeclinedEffect<Failure> extends Known {
  readonly status: 'failed'
  readonly reason: 'declined'
  readonly failure: Failure
}

/**
 * It definitely did not happen: it was too late (`notAfter`) and nothing was called, or a person or a webhook said so, with
 * what was given for a failure.
 */
export interface UndoneEffect<Failure> extends Known {
  readonly status: 'failed'
  readonly reason: 'expired' | 'resolved'
  readonly failure: Failure | undefined
}

/**
 * Nobody knows yet whether it happened: no answer, a broken connection, a server error, or another process is at it now. Run
 * it again later: the ledger knows what may be repeated.
 */
export interface UnknownEffect {
  readonly status: 'unknown'
  readonly operation: string
  readonly reason: string
  /** When it makes sense to run it again, in milliseconds from now. */
  readonly retryAfterMs: number
  /**
   * Lets a handler complete its delivery all the same. The operation stays in the ledger as unknown, listed, for a webhook, a
   * later run or a person.
   */
  readonly setAside: () => void
}

/** Nobody knows whether it happened, and nothing may be repeated any more: a person, or a webhook, has to say. */
export interface EffectInReview {
  readonly status: 'needs_review'
  readonly operation: string
  readonly reason: string
}

/** What a run of an operation came to. The response is there only where it happened: the other cases have to be looked at. */
export type Effect<Response, Failure = never> =
  | SucceededEffect<Response>
  | ([Failure] extends [never] ? never : DeclinedEffect<Failure>)
  | UndoneEffect<Failure>
  | UnknownEffect
  | EffectInReview
