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
  /** Until the first lease lapses; null for none, and where nobody looked. */
  readonly nextLeaseMs: number | null
  /** How long it took to find what is due; null without the turn. */
  readonly promotionMs: number | null
  /** How long it took to find when a lease lapses; null where nobody looked. */
  readonly lapsesMs: number | null
  /** Whether the log turned out to come from another cluster, and the position was set anew. */
  readonly rebased: boolean
}

export interface CycleOptions {
  readonly chunk: number
  /** Look for everything that is due and has lapsed, however long ago. */
  readonly sweep: boolean
  /** Otherwise what became due longer ago is left out. @default 60_000 */
  readonly backMs?: number
  /** Look when the next lease lapses. @default true */
  readonly lapses?: boolean
}

/** One turn of the relay in one transaction: routes up to `chunk` messages, promotes what is due, wakes the queues concerned. */
export function relayCycle(t: Tables, { chunk, sweep, backMs = 60_000, lapses = true }: CycleOptions): Query<Cycle> {
  return {
    name: 'posthaste.relay_cycle',
    text: `
      select turn, messages, deliveries, promoted, more, queues, next_due_ms as "nextDueMs", next_lease_ms as "nextLeaseMs", rebased,
             promotion_ms as "promotionMs", lapses_ms as "lapsesMs"
      from ${t.of('relay_cycle')}($1, $2, $3, $4)`,
    values: [chunk, sweep, backMs, lapses],
  }
}

/** Takes back what lapsed leases left unsettled; the last attempt becomes a dead letter. */
export function recoverLeases(t: Tables, { limit }: { limit: number }): Query<{ returned: number; dead: number }> {
  return { text: `select returned, dead from ${t.of('recover_leases')}($1)`, values: [limit] }
}
