import type { AttemptError } from '../rules/error-summary.ts'
import type { Claimed } from './claim.ts'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** The attempts so far; the last one gets its time where it is written down. */
export type NewHistory = readonly (Omit<AttemptError, 'at'> & Partial<Pick<AttemptError, 'at'>>)[]

/** What an attempt came to. `attempts` and `history` are as they are after it. */
export interface Settled
  extends Pick<Claimed, 'priority' | 'position' | 'message' | 'messageId' | 'attempts' | 'crashes'> {
  readonly kind: 'completed' | 'retry' | 'dead' | 'expired' | 'discarded'
  /** As claimed: the message's row in the inbox is another delivery's, and stays whatever became of this one. @default false */
  readonly duplicate?: boolean
  readonly delayMs?: number
  readonly reason?: string
  readonly history?: NewHistory
  /** The attempt failed. */
  readonly failed?: boolean
}

/**
 * Records what a claimed batch came to, as the last statement before COMMIT. In a transaction that an earlier error
 * aborted it fails (25P02), so that an error which a handler swallowed never passes for success.
 */
export function settle(
  t: Tables,
  { queue, consumer, outcomes }: { queue: number; consumer: string; outcomes: readonly Settled[] },
): Query<unknown> {
  const others = outcomes.filter(({ kind }) => kind !== 'completed')
  return {
    name: 'posthaste.settle',
    text: `select ${t.of('settle')}($1, $2, $3, $4::text::jsonb)`,
    values: [
      queue,
      consumer,
      outcomes.length - others.length,
      others.length > 0 ? outcomesJson(others, failuresAtTheEnd(outcomes)) : null,
    ],
  }
}

/** What failed after the last success: failures in a row. */
function failuresAtTheEnd(outcomes: readonly Settled[]): ReadonlySet<Settled> {
  const last = outcomes.findLastIndex(({ kind }) => kind === 'completed')
  return new Set(outcomes.slice(last + 1).filter(({ failed }) => failed))
}

export function outcomesJson(
  outcomes: readonly Settled[],
  failures: ReadonlySet<Settled> = failuresAtTheEnd(outcomes),
): string {
  return JSON.stringify(
    outcomes.map((outcome) => {
      const { kind, priority, position, message, messageId, attempts, crashes, duplicate, delayMs, reason, history } =
        outcome
      return {
        kind,
        priority,
        position,
        message,
        message_id: messageId,
        attempts,
        crashes,
        duplicate,
        delay_ms: delayMs,
        reason,
        history,
        failed: failures.has(outcome) || undefined,
      }
    }),
  )
}
