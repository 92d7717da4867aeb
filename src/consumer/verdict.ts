import { KeyLost, UnknownVersion } from '../errors.ts'
import type { EventBus } from '../events.ts'
import type { Claimed } from '../postgres/claim.ts'
import type { NewHistory, Settled } from '../postgres/settle.ts'
import { type ErrorSummary, summarise } from '../rules/error-summary.ts'
import type { FlowSettings } from '../rules/flow.ts'
import type { CompleteOutcome, DeadLetterReason, Outcome } from '../rules/outcome.ts'
import { afterFailure, type Failure, type RetryPolicy } from '../rules/retry.ts'
import type { Closing } from './gate.ts'

/**
 * What an attempt came to. `returned` is none: the delivery goes back as it was, and no attempt is used.
 */
export type Verdict =
  | { readonly kind: 'completed'; readonly duplicate: boolean }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly error: ErrorSummary | undefined }
  | {
      readonly kind: 'dead'
      readonly reason: string
      readonly error: ErrorSummary | undefined
      readonly attempted: boolean
    }
  | { readonly kind: 'discarded'; readonly reason: string }
  | { readonly kind: 'expired' }
  | { readonly kind: 'returned'; readonly delayMs: number; readonly closing?: Closing; readonly version?: number }

/** How long a message that is left to newer consumers stays out of the way of this one. */
const LEFT_MS = 1_000

export const COMPLETED: Verdict = Object.freeze({ kind: 'completed', duplicate: false })
export const DUPLICATE: Verdict = Object.freeze({ kind: 'completed', duplicate: true })
export const EXPIRED: Verdict = Object.freeze({ kind: 'expired' })
export const RETURNED: Verdict = Object.freeze({ kind: 'returned', delayMs: 0 })

/** Dead without an attempt: no handler could have changed it. */
export function unattemptable(reason: DeadLetterReason, error?: unknown): Verdict {
  return { kind: 'dead', reason, error: error === undefined ? undefined : summarise(error), attempted: false }
}

/** What becomes of a delivery that nobody need see, or undefined for one that is to be attempted. */
export function withoutAttempt(row: Claimed, { expired = 'drop' }: Pick<FlowSettings, 'expired'>): Verdict | undefined {
  if (row.duplicate) return DUPLICATE
  if (row.body === null) return unattemptable('LOG_MISSING')
  if (row.body.payload === null && row.body.bytes === null) return unattemptable('erased')
  if (!row.expired) return undefined
  return expired === 'drop' ? EXPIRED : unattemptable('expired')
}

/** A payload that does not fit its contract fits it no better next time. */
export function unreadable(error: unknown): Verdict {
  return unattemptable(error instanceof UnknownVersion ? 'unknown-version' : 'invalid-payload', error)
}

/** A key that is lost is so for every attempt; one that cannot be looked for now is an attempt that failed. */
export function locked(error: unknown, attempt: number, policy: RetryPolicy): Verdict {
  return error instanceof KeyLost ? unattemptable('key-lost', error) : verdictOfFailure(error, attempt, policy)
}

/** It goes back for a consumer that knows its version. */
export function leftToNewer({ version }: UnknownVersion): Verdict {
  return { kind: 'returned', delayMs: LEFT_MS, version }
}

/** What the handler's answer means for its `attempt`-th attempt. */
export function verdictOf(outcome: Outcome | CompleteOutcome, attempt: number, policy: RetryPolicy): Verdict {
  switch (outcome.kind) {
    case 'complete':
      return COMPLETED
    case 'discard':
      return { kind: 'discarded', reason: outcome.reason }
    case 'dead-letter':
      return { kind: 'dead', reason: outcome.reason, error: undefined, attempted: true }
    case 'retry':
      return again(attempt, policy, undefined, { delayMs: outcome.delayMs })
    case 'pause':
      return {
        kind: 'returned',
        delayMs: 0,
        closing: { source: 'handler', forMs: outcome.forMs, reason: outcome.reason },
      }
  }
}

export function verdictOfFailure(error: unknown, attempt: number, policy: RetryPolicy): Verdict {
  return again(attempt, policy, summarise(error), { error })
}

/** A delivery and what it came to: the rows to settle, and the event to tell once they are committed. */
export interface Judged {
  readonly row: Claimed
  readonly verdict: Verdict
  /** Which attempt this was, 1 for the first. */
  readonly attempt: number
  readonly durationMs: number
}

/** Whether an attempt was made and did not do what its handler wanted. */
export function hasFailed(verdict: Verdict): boolean {
  if (verdict.kind === 'dead') return verdict.attempted && verdict.error !== undefined
  return verdict.kind === 'retry' && verdict.error !== undefined
}

/** Whether a handler came to its end, whatever it decided. */
export function hasSucceeded(verdict: Verdict): boolean {
  if (verdict.kind === 'completed') return !verdict.duplicate
  if (verdict.kind === 'dead') return verdict.attempted && verdict.error === undefined
  return verdict.kind === 'discarded' || (verdict.kind === 'retry' && verdict.error === undefined)
}

/** What is written down of it. */
export function settledOf({ row, verdict, attempt }: Judged): Settled {
  const { position, priority, message, messageId, attempts, crashes, duplicate, history } = row
  const facts = { position, priority, message, messageId, attempts, crashes, duplicate }
  switch (verdict.kind) {
    case 'completed':
    case 'expired':
      return { ...facts, kind: verdict.kind }
    case 'discarded':
      return { ...facts, kind: 'discarded', reason: verdict.reason }
    case 'returned':
      return { ...facts, kind: 'retry', delayMs: verdict.delayMs, history }
    case 'retry':
      return {
        ...facts,
        kind: 'retry',
        attempts: attempt,
        delayMs: verdict.delayMs,
        history: told(row, attempt, verdict),
        failed: verdict.error !== undefined,
      }
    case 'dead':
      return {
        ...facts,
        kind: 'dead',
        reason: verdict.reason,
        attempts: verdict.attempted ? attempt : attempts,
        history: told(row, attempt, verdict),
        failed: hasFailed(verdict),
      }
  }
}

/** Says what became of it, once that is committed; of a stream, in which group. */
export function tell(
  events: EventBus,
  queue: string,
  { row, verdict, attempt, durationMs }: Judged,
  group?: string,
): void {
  const { messageId } = row
  const where = group === undefined ? { queue } : { queue, group }
  const attempted = { ...where, messageId, type: row.body?.type ?? '', attempt }
  if (verdict.kind === 'completed') {
    if (events.heard('completed')) events.emit('completed', { ...attempted, durationMs, duplicate: verdict.duplicate })
  } else if (verdict.kind === 'retry') {
    events.emit('retried', { ...attempted, delayMs: verdict.delayMs, error: verdict.error })
  } else if (verdict.kind === 'dead') {
    events.emit('dead-lettered', { ...attempted, reason: verdict.reason, error: verdict.error })
  } else if (verdict.kind === 'discarded') {
    events.emit('discarded', { ...attempted, reason: verdict.reason })
  } else if (verdict.kind === 'returned' && verdict.version !== undefined) {
    events.emit('left', { ...attempted, version: verdict.version, delayMs: verdict.delayMs })
  } else if (verdict.kind === 'expired') {
    events.emit('expired', { ...where, messageId })
  }
}

function again(attempt: number, policy: RetryPolicy, error: ErrorSummary | undefined, failure: Failure): Verdict {
  const after = afterFailure(policy, attempt, failure)
  if (after.kind === 'retry') return { kind: 'retry', delayMs: after.delayMs, error }
  return { kind: 'dead', reason: after.reason, error, attempted: true }
}

// Its time is the database's, which writes it down.
function told(row: Claimed, attempt: number, verdict: Verdict & { kind: 'retry' | 'dead' }): NewHistory {
  return [...row.history, { attempt, ...(verdict.error ?? wishOf(verdict)) }]
}

// An outcome that the handler chose has no error, and is part of the story all the same.
function wishOf(verdict: Verdict & { kind: 'retry' | 'dead' }): ErrorSummary {
  if (verdict.kind === 'dead') return { name: 'DeadLetter', message: verdict.reason }
  return { name: 'Retry', message: 'the handler asked for another attempt' }
}
