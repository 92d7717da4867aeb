import { ForeignOutcome, InvalidOption, OutcomeNotReturned } from '../errors.ts'
import { presentable } from './error-summary.ts'
import { refuseUnknown } from './options.ts'
import { TEN_YEARS_MS } from './validate.ts'

/** What a handler may return instead of nothing. Made by a delivery, never by hand. */
export type Outcome = RetryOutcome | DeadLetterOutcome | DiscardOutcome | PauseOutcome

/** Attempt it again, after `delayMs` or, without one, after what the queue's retry policy says. The attempt counts. */
export interface RetryOutcome {
  readonly kind: 'retry'
  readonly delayMs: number | undefined
}

/** Keep it among the dead letters now, with your reason. */
export interface DeadLetterOutcome {
  readonly kind: 'dead-letter'
  readonly reason: string
}

/** It is done with, and nothing came of it: counted, not kept. */
export interface DiscardOutcome {
  readonly kind: 'discard'
  readonly reason: string
}

/** It goes back as it was, and nothing of its queue is consumed for a time, by no process: an outage is nobody's fault. */
export interface PauseOutcome {
  readonly kind: 'pause'
  readonly forMs: number
  readonly reason: string | null
}

/** The handler returned nothing: its effect and the delivery's end are committed together. */
export interface CompleteOutcome {
  readonly kind: 'complete'
}

/** What a handler resolves to: nothing, or an outcome its delivery made. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement resolves to void, not undefined
export type HandlerResult = Outcome | void

/** Reasons the machinery itself gives a dead letter; any other text is a handler's own. */
export type DeadLetterReason =
  | 'max-attempts'
  | 'non-retryable'
  | 'unknown-type'
  | 'unknown-version'
  | 'invalid-payload'
  | 'crashed'
  | 'key-lost'
  | 'erased'
  | 'LOG_MISSING'
  | 'expired'
  | 'overflow'

/** When to try again. */
export interface RetryRequest {
  /** Milliseconds from now by the database's clock, 0 to ten years. @default what the retry policy of the queue says */
  readonly delayMs?: number | undefined
}

/** For how long nothing of the queue is consumed, and why. */
export interface PauseRequest {
  /** For how long, in milliseconds: 1 to ten years. */
  readonly forMs: number
  /** What `status` tells as the reason. @default none */
  readonly reason?: string | undefined
}

export const COMPLETE: CompleteOutcome = Object.freeze({ kind: 'complete' })

/** Makes the outcomes of one attempt, and knows whether one was made that never came back. */
export class Outcomes {
  #made: Outcome | undefined

  retry(request: RetryRequest = {}): Outcome {
    refuseUnknown(request, ['delayMs'])
    const { delayMs } = request
    return this.#make({ kind: 'retry', delayMs: delayMs === undefined ? undefined : checkedDelay(delayMs) })
  }

  deadLetter(reason: string): Outcome {
    return this.#make({ kind: 'dead-letter', reason: checkedReason(reason) })
  }

  discard(reason: string): Outcome {
    return this.#make({ kind: 'discard', reason: checkedReason(reason) })
  }

  pause(request: PauseRequest): Outcome {
    refuseUnknown(request, ['forMs', 'reason'])
    const { forMs, reason } = request
    return this.#make({
      kind: 'pause',
      forMs: checkedPause(forMs),
      reason: reason === undefined ? null : checkedReason(reason),
    })
  }

  /** What the handler's return value means. Anything that is no outcome means complete, unless an outcome was made and forgotten. */
  settle(returned: unknown): Outcome | CompleteOutcome {
    if (isOutcome(returned)) {
      if (makers.get(returned) !== this) throw new ForeignOutcome(returned.kind)
      return returned
    }
    if (this.#made !== undefined) throw new OutcomeNotReturned(this.#made.kind)
    return COMPLETE
  }

  /** An outcome that was made here, or undefined for nothing. Anything else is an `InvalidOption`: an answer that nobody understands. */
  answer(returned: unknown): Outcome | undefined {
    if (returned === undefined || returned === null) return undefined
    if (!isOutcome(returned)) throw new InvalidOption('onError', 'it answered something that is no outcome')
    if (makers.get(returned) !== this) throw new ForeignOutcome(returned.kind)
    return returned
  }

  #make(outcome: Outcome): Outcome {
    this.#made = Object.freeze(outcome)
    makers.set(outcome, this)
    return outcome
  }
}

const makers = new WeakMap<Outcome, Outcomes>()

/** Was this made by a delivery? */
export function isOutcome(value: unknown): value is Outcome {
  return typeof value === 'object' && value !== null && makers.has(value as Outcome)
}

function checkedDelay(delayMs: number): number {
  if (typeof delayMs !== 'number' || !(delayMs >= 0 && delayMs <= TEN_YEARS_MS)) {
    throw new InvalidOption('delayMs', 'it is not a number of milliseconds between 0 and ten years')
  }
  return Math.round(delayMs)
}

function checkedPause(forMs: number): number {
  if (typeof forMs !== 'number' || !(forMs >= 1 && forMs <= TEN_YEARS_MS)) {
    throw new InvalidOption('forMs', 'it is not a number of milliseconds between 1 and ten years')
  }
  return Math.round(forMs)
}

function checkedReason(reason: string): string {
  if (typeof reason !== 'string' || reason.trim() === '') throw new InvalidOption('reason', 'it is not a text')
  return presentable(reason)
}
