import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

export interface Cycle {
  /** Whether this relay had the turn. If not, another one did the work. */
  readonly turn: boolean
  readonly messages: number
  readonly deliveries: number
  readonly promoted: number
  /** Whether there is more to do at once. */
  readonly more: boolean
  /** The queues that have something new to claim. */
  readonly queues: readonly number[]
  /** Until the next scheduled delivery is due. */
  readonly nextDueMs: number | null
  /** Until the first lease lapses. */
  readonly nextLeaseMs: number | null
  /** Whether the log turned out to come from another cluster, and the position was set anew. */
  readonly rebased: boolean
}

/**
 * One turn of the relay in one transaction: routes up to `chunk` messages, promotes what is due, wakes the queues concerned.
 * `sweep` also looks for deliveries that have been due for more than a minute.
 */
export function relayCycle(t: Tables, { chunk, sweep }: { chunk: number; sweep: boolean }): Query<Cycle> {
  return {
    name: 'posthaste.relay_cycle',
    text: `
      select turn, messages, deliveries, promoted, more, queues,
             next_due_ms as "nextDueMs", next_lease_ms as "nextLeaseMs", rebased
      from ${t.of('relay_cycle')}($1, $2)`,
    values: [chunk, sweep],
  }
}

/** Takes back what lapsed leases left unsettled; the last attempt becomes a dead letter. */
export function recoverLeases(t: Tables, { limit }: { limit: number }): Query<{ returned: number; dead: number }> {
  return { text: `select returned, dead from ${t.of('recover_leases')}($1)`, values: [limit] }
}
