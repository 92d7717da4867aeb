import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/** What became of everything that was routed to a queue. */
export interface QueueAccount {
  readonly queue: string
  /** Deliveries that came to it, redriven ones of other queues included. */
  readonly routed: number
  /** Wait to be claimed, or are in a consumer’s open transaction. */
  readonly ready: number
  /** Wait for a time. */
  readonly scheduled: number
  /** Are held under a lease. */
  readonly leased: number
  /** Were done, duplicates that the inbox knew included. */
  readonly completed: number
  /** Are dead letters now. */
  readonly dead: number
  /** Outlived their time to live. */
  readonly expired: number
  /** Were discarded by a handler, or cancelled. */
  readonly discarded: number
  /** Were purged, as deliveries or as dead letters. */
  readonly purged: number
  /** Attempts that were put back, and dead letters that were: they tell how busy it was, and are in no sum. */
  readonly retried: number
  readonly redriven: number
  /** routed − ready − scheduled − leased − completed − dead − expired − discarded − purged: 0. */
  readonly difference: number
}

/** What became of everything that was published to an exchange. */
export interface ExchangeAccount {
  /** Its name; '' is the default exchange. */
  readonly exchange: string
  /** Messages that were committed. */
  readonly published: number
  /** Messages that at least one queue got. */
  readonly routed: number
  /** Messages that no binding took. */
  readonly unmatched: number
  /** Messages that no relay has looked at yet. */
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
