import { jsonFrom, timeFrom, timeOrNull } from '../rules/driver-values.ts'
import type { FlowSettings } from '../rules/flow.ts'
import type { PauseSource } from './flow.ts'
import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/** One queue as it stands. */
export interface QueueStatus {
  readonly queue: string
  readonly kind: 'standard' | 'stream'
  /** Deliveries that have not ended: ready, scheduled and leased. From the counts, whatever their number. */
  readonly depth: number
  /** Ready to be claimed, or held by a consumer's open transaction. */
  readonly ready: number
  /** Delayed, or put back for another attempt, and not due yet. */
  readonly scheduled: number
  readonly leased: number
  readonly dead: number
  /** Why nothing of it is claimed now; null when it is open. */
  readonly paused: Paused | null
  /** How long ago the message at the head was published; null when nothing is ready. */
  readonly oldestMs: number | null
  readonly rates: Rates
  /** How its deliveries flow, as declared; empty for a plain queue. */
  readonly flow: FlowSettings
}

/** Who closed a queue, and until when; `until` is null: until it is resumed. */
export interface Paused {
  readonly source: PauseSource
  readonly until: Date | null
  readonly reason: string | null
  readonly by: string | null
}

/** Per second, over the last `overMs` milliseconds. */
export interface Rates {
  /** Deliveries that came. */
  readonly routed: number
  /** Deliveries that were done. */
  readonly completed: number
  /** Attempts that failed and are repeated. */
  readonly retried: number
  /** Deliveries that became dead letters. */
  readonly dead: number
  /** The time that is looked at. */
  readonly overMs: number
}

/** The relay as it stands. */
export interface RelayStatus {
  /** Whether a relay holds the duty; without one, relays that cannot listen poll. */
  readonly onDuty: boolean
  /** The server process of the one on duty. */
  readonly pid: number | null
  readonly application: string | null
  /** Relays that wait for the duty. */
  readonly standingBy: number
  /** The number of the last snapshot up to which messages were routed, and when that was. */
  readonly tick: number
  readonly routedAt: Date
  /** Committed messages that are not routed, counted up to 10,000; null on a restored database until a relay has seen it. */
  readonly unrouted: number | null
  /** How long ago the oldest of them was published. */
  readonly lagMs: number | null
}

/** A partition of the outbox, by its range of positions; the last has no end. */
export interface Partition {
  readonly name: string
  /** Its first position. */
  readonly from: string
  /** The position it ends before; null for the last one. */
  readonly to: string | null
  readonly madeAt: Date
  /** When retention emptied it; null while it holds its messages. */
  readonly emptiedAt: Date | null
}

/** Every queue, or one. */
export function queueStatus(t: Tables, queue: string | null): Query<QueueStatus> {
  return {
    text: `
      select s.*, p.source as paused_source, p.until as paused_until, p.reason as paused_reason, p.paused_by, q.flow
      from ${t.of('queue_status')}($1) s
      join ${t.of('queues')} q on q.name = s.name
      left join lateral ${t.of('closed_by')}(q.id) c on true
      left join ${t.of('pauses')} p on p.queue = q.id and p.source = c.source
      order by s.name`,
    values: [queue],
    decode: queueStatusOf,
  }
}

const MOST_COUNTED = 10_000

export function relayStatus(t: Tables): Query<RelayStatus> {
  return { text: `select * from ${t.of('relay_status')}($1)`, values: [MOST_COUNTED], decode: relayStatusOf }
}

export function partitions(t: Tables): Query<Partition> {
  return {
    text: `select name, from_id, to_id, made_at, emptied_at from ${t.of('partitions')} order by from_id`,
    values: [],
    decode: (row) => ({
      name: row.name,
      from: String(row.from_id),
      to: row.to_id === null ? null : String(row.to_id),
      madeAt: timeFrom(row.made_at),
      emptiedAt: timeOrNull(row.emptied_at),
    }),
  }
}

/** The migrations that have run, oldest first. */
export function appliedMigrations(t: Tables): Query<string> {
  return { text: `select name from ${t.of('migrations')} order by id`, values: [], decode: ({ name }) => name }
}

function queueStatusOf(row: Row): QueueStatus {
  const overMs = Number(row.over_ms)
  const perSecond = (n: unknown) => Math.round((Number(n) / Math.max(1, overMs)) * 1_000_000) / 1_000
  return {
    queue: row.name,
    kind: row.kind,
    depth: Number(row.depth),
    ready: Number(row.ready),
    scheduled: Number(row.scheduled),
    leased: Number(row.leased),
    dead: Number(row.dead),
    paused: pausedOf(row),
    oldestMs: wholeMs(row.oldest_ms),
    rates: {
      routed: perSecond(row.routed),
      completed: perSecond(row.completed),
      retried: perSecond(row.retried),
      dead: perSecond(row.died),
      overMs: Math.round(overMs),
    },
    flow: jsonFrom(row.flow) as QueueStatus['flow'],
  }
}

function pausedOf(row: Row): Paused | null {
  if (row.paused_source === null) return null
  const { paused_source: source, paused_until: until, paused_reason: reason, paused_by: by } = row
  return { source, until: timeOrNull(until), reason, by }
}

function relayStatusOf(row: Row): RelayStatus {
  return {
    onDuty: row.duty_pid !== null,
    pid: row.duty_pid,
    application: row.duty_name,
    standingBy: row.standing_by,
    tick: Number(row.tick),
    routedAt: row.at,
    unrouted: row.unrouted,
    lagMs: wholeMs(row.oldest_ms),
  }
}

function wholeMs(ms: unknown): number | null {
  return ms === null ? null : Math.round(Number(ms))
}
