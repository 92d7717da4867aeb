import { timeOrNull } from '../rules/driver-values.ts'
import { type Positions, SKY } from '../rules/position.ts'
import type { Binding, ExchangeKind } from '../rules/route.ts'
import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/** Who closed a queue. */
export type PauseSource = 'operator' | 'handler' | 'breaker'

/** A queue as its consumers look at it now and then. */
export interface QueueLook {
  readonly queue: number
  /** There is something to claim, or in a claim; false when that was not asked. */
  readonly ready: boolean
  /** The lowest row of each priority; empty when that was not asked. */
  readonly lowest: Positions
  /** The last position that was given to a row, in any queue. */
  readonly top: string
  /** Who closed it; null when it is open. */
  readonly closed: PauseSource | null
  /** For how long it is closed; null until somebody resumes it. */
  readonly closedMs: number | null
  readonly reason: string | null
  /** The breaker's time has come: one delivery may be tried. */
  readonly halfOpen: boolean
  /** The rules by which it flows, as JSON text; `{}` for a plain queue. */
  readonly flow: string
}

/**
 * What there is to know before a claim, of all queues of a process at once; no row for a queue that was deleted. `grounds` are
 * where it is looked for something ready, ten positions for each queue.
 */
export function lookAtQueues(
  t: Tables,
  { queues, grounds }: { readonly queues: readonly number[]; readonly grounds?: Positions },
): Query<QueueLook> {
  return {
    text: `
      select queue, lowest::text[] as lowest, top::text as top, closed, closed_ms, reason, half_open, flow
      from ${t.of('look_at_queues')}($1::integer[], $2::bigint[])`,
    values: [queues, grounds ?? null],
    decode: (row: Row) => ({
      queue: row.queue,
      ready: row.lowest.some((position: string, priority: number) => position !== SKY[priority]),
      lowest: row.lowest,
      top: row.top,
      closed: row.closed,
      closedMs: row.closed_ms === null ? null : Number(row.closed_ms),
      reason: row.reason,
      halfOpen: row.half_open,
      flow: row.flow,
    }),
  }
}

export interface Pause {
  readonly queue: number
  readonly source: PauseSource
  /** Null: until it is resumed. */
  readonly forMs: number | null
  readonly reason: string | null
  readonly by: string | null
}

/** Closes a queue for the consumers of all processes; tells them with the commit. */
export function pauseQueue(t: Tables, { queue, source, forMs, reason, by }: Pause): Query<{ until: Date | null }> {
  return {
    text: `select until from ${t.of('pause_queue')}($1, $2, $3, $4, $5) until`,
    values: [queue, source, forMs, reason, by],
    decode: ({ until }) => ({ until: timeOrNull(until) }),
  }
}

/** Opens a queue, whoever closed it; false: it was open. */
export function resumeQueue(t: Tables, queue: number): Query<{ resumed: boolean }> {
  return { text: `select ${t.of('resume_queue')}($1) as resumed`, values: [queue] }
}

/** Deletes up to `limit` deliveries that wait in a queue. */
export function purgeQueue(t: Tables, queue: number, limit: number): Query<{ purged: number }> {
  return { text: `select ${t.of('purge_queue')}($1, $2) as purged`, values: [queue, limit] }
}

/** Deletes a queue. Not deleted: transactions of consumers hold some of it. */
export function deleteQueue(t: Tables, name: string, force: boolean): Query<{ deleted: boolean; purged: number }> {
  return {
    text: `select deleted, purged from ${t.of('delete_queue')}($1, $2)`,
    values: [name, force],
    decode: ({ deleted, purged }) => ({ deleted, purged: Number(purged) }),
  }
}

/**
 * Takes back deliveries that wait for their time, of one queue or of all. With a proof only in the transaction it was left in.
 */
export function cancelScheduled(
  t: Tables,
  { ids, queue, proof }: { readonly ids: readonly string[]; readonly queue: number | null; readonly proof?: string },
): Query<{ id: string; queue: string }> {
  const cancel = `${t.of('cancel')}($1::uuid[], $2::integer)`
  if (proof === undefined) return { text: `select message_id as id, queue from ${cancel}`, values: [ids, queue] }
  return {
    text: `
      select c.message_id as id, c.queue
      from (select where current_setting('posthaste.probe', true) = $3::text) proven
      cross join lateral ${cancel} c`,
    values: [ids, queue, proof],
  }
}

/** A queue that refuses publishers when it is full. */
export interface RefusingQueue {
  readonly name: string
  /** Why it is full; null when it is not. */
  readonly full: string | null
  /** What leads to it. */
  readonly bindings: readonly (Binding & { readonly kind: ExchangeKind | 'default' })[]
}

export function refusingQueues(t: Tables): Query<RefusingQueue> {
  return {
    text: `select name, is_full, bindings::text as bindings from ${t.of('refusing_queues')}()`,
    values: [],
    decode: ({ name, is_full, bindings }) => ({ name, full: is_full, bindings: JSON.parse(bindings) }),
  }
}
