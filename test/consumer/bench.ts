import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { onTestFinished } from 'vitest'
import { ClaimLoop } from '../../src/consumer/claim-loop.ts'
import { Consumer, type ConsumerOptions, type Guarantee } from '../../src/consumer.ts'
import type { Context } from '../../src/context.ts'
import type { Database } from '../../src/database.ts'
import { type PgClient, pgDatabase } from '../../src/databases/pg.ts'
import { EventBus, type EventName, type Events } from '../../src/events.ts'
import { Outbox } from '../../src/outbox.ts'
import { Listener } from '../../src/postgres/listener.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { Relay } from '../../src/relay.ts'
import type { PublishOptions } from '../../src/rules/message.ts'
import { DEFAULT_RETRY, type RetryPolicy } from '../../src/rules/retry.ts'
import type { QueueSettings } from '../../src/rules/topology.ts'
import { DEFAULT_LIMITS } from '../../src/rules/validate.ts'
import { until } from '../support/until.ts'

export const TYPE = 'order.placed'

export interface QueueOptions {
  readonly retry?: Partial<RetryPolicy>
  readonly maxCrashes?: number
}

export interface ProcessOptions<Tx> {
  readonly database?: Database<Tx>
  readonly max?: number
  /** False: deliveries are routed by nobody unless another process does. @default true */
  readonly relay?: boolean
}

/** A queue of its own, so that the tests of a file do not meet. */
export async function makeQueue(pool: pg.Pool, options: QueueOptions = {}): Promise<QueueSettings & { number: number }> {
  const name = `q_${randomUUID().slice(0, 8)}`
  const retry = { ...DEFAULT_RETRY, minMs: 1, maxMs: 5, jitter: 'none' as const, ...options.retry }
  const { maxCrashes = 3 } = options
  const { rows } = await pool.query(
    'insert into posthaste.queues (name, max_attempts, max_crashes, retry) values ($1, $2, $3, $4) returning id',
    [name, retry.maxAttempts, maxCrashes, JSON.stringify(retry)],
  )
  await pool.query('create table if not exists effects (queue text, message_id uuid, n bigint, at timestamptz default clock_timestamp())')
  return { name, kind: 'standard', retry, maxCrashes, number: rows[0].id }
}

/** What one process that consumes is made of; everything is stopped when the test is over. */
export function processOn<Tx = PgClient>(url: string, options: ProcessOptions<Tx> = {}) {
  const pool = new pg.Pool({ connectionString: url, max: options.max ?? 15 })
  pool.on('error', () => {})
  const database = options.database ?? (pgDatabase(pool) as unknown as Database<Tx>)
  const events = new EventBus()
  const story: Told[] = []
  events.onAny((name, event) => void story.push({ name, event }))
  const instance = randomUUID()
  const tables = tablesOf('posthaste')
  const listener = new Listener({ database, events, instance })
  const context: Context<Tx> = { database, tables, events, listener, instance }
  const outbox = new Outbox({ tables, limits: DEFAULT_LIMITS, events })
  const relay = new Relay(context as Context)
  const claims = new ClaimLoop(context as Context)
  const consumers: { stop(options?: { timeoutMs?: number }): Promise<void> }[] = []

  listener.start()
  const relaying = options.relay === false ? Promise.resolve() : relay.start()
  const stop = async () => {
    await Promise.all(consumers.map((consumer) => consumer.stop({ timeoutMs: 0 })))
    await relaying
    await relay.stop()
    await listener.stop()
    if (!pool.ended) await pool.end()
  }
  onTestFinished(stop)

  const consumer = <const G extends Guarantee = 'exactly-once-effects'>(
    queue: QueueSettings & { number: number },
    given: ConsumerOptions<G> = {},
  ) => {
    const place = { context, claims, outbox, queue, number: async () => queue.number, wakeRelay: () => relay.wake() }
    const made = new Consumer<Tx, G>(place, given)
    consumers.push(made)
    return made
  }
  const told = <Name extends EventName>(name: Name): Events[Name][] =>
    story.filter((one) => one.name === name).map(({ event }) => event as Events[Name])
  return { pool, database, events, story, told, context, outbox, relay, claims, consumer, stop }
}

interface Told {
  readonly name: EventName
  readonly event: unknown
}

/** Publishes messages `{ n }` to the queue in one transaction; the ids in order. */
export async function publish(
  pool: pg.Pool,
  queue: { name: string },
  count: number,
  options: (n: number) => PublishOptions & { type?: string; payload?: unknown } = () => ({}),
): Promise<string[]> {
  const outbox = new Outbox({ tables: tablesOf('posthaste'), limits: DEFAULT_LIMITS, events: new EventBus() })
  const client = await pool.connect()
  try {
    await client.query('begin')
    const messages = Array.from({ length: count }, (_, n) => ({
      type: TYPE,
      routingKey: queue.name,
      payload: { n },
      ...options(n),
    }))
    const published = await outbox.publish(client, messages)
    await client.query('commit')
    return [published].flat().map(({ id }) => id)
  } finally {
    client.release()
  }
}

export interface Account {
  readonly ready: number
  readonly scheduled: number
  readonly leased: number
  readonly dead: number
}

/** What of a queue is where. */
export async function accountOf(pool: pg.Pool, queue: { number: number }): Promise<Account> {
  const { rows } = await pool.query(
    `select (select count(*)::int from posthaste.ready where queue = $1) as ready,
            (select count(*)::int from posthaste.scheduled where queue = $1) as scheduled,
            (select coalesce(sum(jsonb_array_length(deliveries)), 0)::int from posthaste.leases where queue = $1) as leased,
            (select count(*)::int from posthaste.dead_letters where queue = $1) as dead`,
    [queue.number],
  )
  return rows[0]
}

/** Resolves when nothing of the queue is waiting any more, dead letters aside, and all that was published was routed. */
export async function drained(pool: pg.Pool, queue: { number: number; name: string }, ends: number, timeoutMs = 20_000): Promise<void> {
  await until(async () => (await endsOf(pool, queue)) >= ends, { timeoutMs, what: `${ends} ends in ${queue.name}` })
}

/** How many deliveries of a queue have come to an end, of whatever kind. */
export async function endsOf(pool: pg.Pool, queue: { name: string }): Promise<number> {
  const { rows } = await pool.query(
    `select coalesce(sum(n), 0)::int as n from posthaste.tally
     where scope = 'queue' and name = $1 and counter in ('completed', 'dead', 'expired', 'discarded')`,
    [queue.name],
  )
  return rows[0].n
}

/** How often each message took effect. */
export async function effectsOf(pool: pg.Pool, queue: { name: string }): Promise<Map<string, number>> {
  const { rows } = await pool.query(
    'select message_id, count(*)::int as n from effects where queue = $1 group by 1',
    [queue.name],
  )
  return new Map(rows.map(({ message_id, n }) => [message_id, n]))
}

/** What most handlers here do. */
export const EFFECT = 'insert into effects (queue, message_id, n) values ($1, $2, $3)'

export interface Numbered {
  readonly n: number
}
