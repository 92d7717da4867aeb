import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, expect, onTestFinished } from 'vitest'
import { type Claimed, claim } from '../../src/postgres/claim.ts'
import { type Query, type Queryable, run as runQuery } from '../../src/postgres/queryable.ts'
import { type Cycle, type CycleOptions, relayCycle } from '../../src/postgres/relay.ts'
import { type Settled, settle } from '../../src/postgres/settle.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

export const t = tablesOf('posthaste')

export const GROUND = Array<string>(10).fill('0')

type Connection = Pick<pg.ClientBase, 'query'> | pg.Pool

/** A statement value on a plain pg connection. */
export function run<Result>(on: Connection, query: Query<Result>): Promise<Result[]> {
  const queryable: Queryable = { query: (text, values) => (on as pg.Pool).query(text, [...values]) }
  return runQuery(queryable, query)
}

export interface Bench {
  readonly url: string
  readonly pool: pg.Pool
  /** The queue of this bench, which the default exchange routes to. */
  readonly queue: string
  /** Its number. */
  readonly number: number
  /** A connection of one's own, ended with the test. */
  connect(): Promise<pg.Client>
  /** Publishes as any producer would, in whatever transaction the connection is in; answers the ids. */
  publish(on: Connection, ...messages: Said[]): Promise<string[]>
  publishMany(on: Connection, n: number, message?: Said): Promise<string[]>
  cycle(options?: { chunk?: number; sweep?: boolean; on?: Connection }): Promise<Cycle>
  /** Cycles until nothing is left to route; answers how many messages were. */
  drain(chunk?: number): Promise<number>
  /** The message ids that a table holds for the queue, in the order of their positions. */
  ids(table?: 'ready' | 'scheduled'): Promise<string[]>
  /** Fails unless the accounts of the queue, or of all when alone, and of every exchange are in balance. */
  audit(on?: Connection): Promise<void>
}

export interface Said {
  readonly id?: string
  readonly exchange?: string
  readonly routing_key?: string
  readonly type?: string
  readonly payload?: unknown
  readonly [more: string]: unknown
}

let shared: Promise<TestDatabase> | undefined
let benches = 0

afterAll(async () => {
  if (shared) await (await shared).drop()
})

/** A queue in the database of this test file, or `alone` in one of its own: for tests that change more than rows of their queue. */
export async function bench({ alone = false } = {}): Promise<Bench> {
  if (!alone) shared ??= createDatabase()
  const database = alone ? await createDatabase() : await shared!
  const { url, pool } = database
  const clients: pg.Client[] = []
  onTestFinished(async () => {
    await Promise.all(clients.map((client) => client.end().catch(() => {})))
    if (alone) await database.drop()
  })
  benches += 1
  const queue = `q${benches}`
  const number = await declareQueue(pool, queue)

  const connect = async () => {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    clients.push(client)
    return client
  }
  const publish = (on: Connection, ...messages: Said[]) =>
    publishAll(on, ...(messages.length > 0 ? messages : [{}]).map((message) => ({ routing_key: queue, ...message })))
  const publishMany = (on: Connection, n: number, message: Said = {}) =>
    publish(on, ...Array.from({ length: n }, () => ({ ...message })))
  const cycle = async ({ on = pool as Connection, ...options }: Partial<CycleOptions> & { on?: Connection } = {}) =>
    (await run(on, relayCycle(t, { chunk: 1_000, sweep: false, ...options })))[0]!
  const drain = async (chunk = 1_000) => {
    for (let messages = 0; ; ) {
      const routed = await cycle({ chunk })
      messages += routed.messages
      if (!routed.more && routed.turn) return messages
    }
  }
  const ids = async (table = 'ready') => {
    const { rows } = await pool.query(`select message_id from posthaste.${table} where queue = $1 order by position`, [
      number,
    ])
    return rows.map((row) => row.message_id)
  }
  const audit = async (on: Connection = pool) => {
    const { rows } = await on.query(
      `select * from posthaste.audit() where difference <> 0 and (scope = 'exchange' or $1 in ('', name))`,
      [alone ? '' : queue],
    )
    expect(rows).toEqual([])
  }
  return { url, pool, queue, number, connect, publish, publishMany, cycle, drain, ids, audit }
}

export async function declareQueue(pool: pg.Pool, name: string): Promise<number> {
  const { rows } = await pool.query('insert into posthaste.queues (name) values ($1) returning id', [name])
  return rows[0].id
}

/** Publishes what is said, with defaults for the rest; answers the ids. */
export async function publishAll(on: Connection, ...messages: Said[]): Promise<string[]> {
  const wire = messages.map((message) => ({
    id: uuid7(),
    exchange: '',
    type: 'order.placed',
    ...(message.body === undefined && { payload: {} }),
    ...message,
  }))
  const { rows } = await on.query('select id, duplicate from posthaste.publish_all($1::text)', [JSON.stringify(wire)])
  return rows.map((row) => row.id)
}

/** Claims in the transaction of the connection. */
export function claimOn(on: Connection, queue: number, limit: number, floors = GROUND): Promise<Claimed[]> {
  return run(on, claim(t, { queue, consumer: `queue-${queue}`, limit, floors }))
}

/** Settles claimed deliveries, in the transaction of the connection. */
export async function settleOn(
  on: Connection,
  queue: number,
  rows: readonly Claimed[],
  outcome: Partial<Settled> & Pick<Settled, 'kind'> = { kind: 'completed' },
): Promise<void> {
  const outcomes = rows.map((row) => settledAs(row, outcome))
  await run(on, settle(t, { queue, consumer: `queue-${queue}`, outcomes }))
}

export function settledAs(row: Claimed, outcome: Partial<Settled> & Pick<Settled, 'kind'>): Settled {
  const { position, priority, message, messageId, attempts, crashes, duplicate, history } = row
  return { position, priority, message, messageId, attempts, crashes, duplicate, history, ...outcome }
}

/** Does the work in a transaction, or takes it all back. */
export async function transaction<Result>(client: pg.ClientBase, work: () => Promise<Result>): Promise<Result> {
  await client.query('begin')
  try {
    const result = await work()
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

/** Claims and settles everything a queue has ready, one transaction for each batch; answers the message ids. */
export async function consume(client: pg.ClientBase, queue: number, limit = 100): Promise<string[]> {
  const consumed: string[] = []
  for (;;) {
    const rows = await transaction(client, async () => {
      const claimed = await claimOn(client, queue, limit)
      await settleOn(client, queue, claimed)
      return claimed
    })
    if (rows.length === 0) return consumed
    consumed.push(...rows.map(({ messageId }) => messageId))
  }
}

/** An error's code, or its absence. */
export async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

/** A uuidv7 whose time is `aheadMs` from now. */
export function uuid7(aheadMs = 0): string {
  const hex = Math.round(Date.now() + aheadMs)
    .toString(16)
    .padStart(12, '0')
  const random = randomBytes(10).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`
}

/** Every process that waits for a lock now. */
export async function waiting(pool: pg.Pool): Promise<number[]> {
  const { rows } = await pool.query(`
    select distinct pid from pg_locks
    where not granted and (database is null or database = (select oid from pg_database where datname = current_database()))`)
  return rows.map((row) => row.pid)
}

export function pick<Item>(random: () => number, items: readonly Item[]): Item {
  return items[Math.floor(random() * items.length)]!
}
