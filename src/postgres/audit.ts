import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/** What became of everything that was routed to a queue. */
export interface QueueAccount {
  readonly queue: string
  readonly routed: number
  readonly ready: number
  readonly scheduled: number
  readonly leased: number
  readonly completed: number
  readonly dead: number
  readonly expired: number
  readonly discarded: number
  readonly purged: number
  /** Attempts that were put back, and dead letters that were: they tell how busy it was, and are in no sum. */
  readonly retried: number
  readonly redriven: number
  /** routed − ready − scheduled − leased − completed − dead − expired − discarded − purged: 0. */
  readonly difference: number
}

/** What became of everything that was published to an exchange. */
export interface ExchangeAccount {
  readonly exchange: string
  readonly published: number
  readonly routed: number
  readonly unmatched: number
  readonly unrouted: number
  /** published − routed − unmatched − unrouted: 0. */
  readonly difference: number
}

/** The account of every message, in the snapshot of this one statement. */
export function audit(t: Tables): Query<QueueAccount | ExchangeAccount> {
  return { text: `select * from ${t.of('audit')}()`, values: [], decode: account }
}

function account(row: Row): QueueAccount | ExchangeAccount {
  return row.scope === 'queue' ? queueAccount(row) : exchangeAccount(row)
}

function queueAccount(row: Row): QueueAccount {
  return {
    queue: row.name,
    routed: Number(row.routed),
    ready: Number(row.ready),
    scheduled: Number(row.scheduled),
    leased: Number(row.leased),
    completed: Number(row.completed),
    dead: Number(row.dead),
    expired: Number(row.expired),
    discarded: Number(row.discarded),
    purged: Number(row.purged),
    retried: Number(row.retried),
    redriven: Number(row.redriven),
    difference: Number(row.difference),
  }
}

function exchangeAccount(row: Row): ExchangeAccount {
  return {
    exchange: row.name,
    published: Number(row.published),
    routed: Number(row.routed),
    unmatched: Number(row.unmatched),
    unrouted: Number(row.unrouted),
    difference: Number(row.difference),
  }
}
