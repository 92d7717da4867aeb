import { SwallowedSqlError } from '../errors.ts'
import type { Claimed } from '../postgres/claim.ts'
import { type Delivery, openDelivery } from '../rules/delivery.ts'
import { isAborted, summarise } from '../rules/error-summary.ts'
import type { Outcome } from '../rules/outcome.ts'
import { factsOf, plainPayload } from './facts.ts'
import { report, type Seat } from './seat.ts'
import { type Verdict, verdictOf, verdictOfFailure } from './verdict.ts'

/** Says what a failed attempt means: an outcome of the delivery, or nothing for what the queue's policy says. */
// biome-ignore lint/suspicious/noConfusingVoidType: one that says nothing returns nothing
export type OnError = (error: unknown, delivery: Delivery) => Outcome | void

/** What an attempt failed with, from what its transaction says: one that is aborted has seen an error that the handler did not pass on. */
export function faultOf(error: unknown, queue: string): unknown {
  return isAborted(error) ? new SwallowedSqlError(queue, { cause: error }) : error
}

/** What a failed attempt comes to: what `onError` answers, or what the policy of the queue says. */
export function verdictOnError<Tx>(seat: Seat<Tx>, row: Claimed, attempt: number, error: unknown): Verdict {
  return seat.breaker.spared(meaningOf(seat, row, attempt, error))
}

function meaningOf<Tx>(seat: Seat<Tx>, row: Claimed, attempt: number, error: unknown): Verdict {
  const { queue } = seat
  const outcome = answered(seat, row, attempt, error)
  if (outcome === undefined) return verdictOfFailure(error, attempt, queue.retry)
  const verdict = verdictOf(outcome, attempt, queue.retry)
  return verdict.kind === 'retry' || verdict.kind === 'dead' ? { ...verdict, error: summarise(error) } : verdict
}

// It decides about failures, and is not to be one: what it throws, or answers instead of an outcome, is told, and the policy holds.
function answered<Tx>(seat: Seat<Tx>, row: Claimed, attempt: number, error: unknown): Outcome | undefined {
  const { onError, queue } = seat
  if (onError === undefined || row.body === null) return undefined
  try {
    const { delivery, answer } = openDelivery(factsOf(row, { queue, attempt, payload: plainPayload(row) }))
    return answer(onError(error, delivery))
  } catch (fault) {
    report(seat, fault)
    return undefined
  }
}
