import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { onTestFinished } from 'vitest'
import { EventBus } from '../../src/events.ts'
import { Outbox, type Publishable } from '../../src/outbox.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import type { FlowSettings } from '../../src/rules/flow.ts'
import type { PublishOptions } from '../../src/rules/message.ts'
import { DEFAULT_RETRY, type RetryPolicy } from '../../src/rules/retry.ts'
import type { QueueSettings } from '../../src/rules/topology.ts'
import { DEFAULT_LIMITS } from '../../src/rules/validate.ts'
import { until } from '../support/until.ts'
import { type TestQueue, type WiringOptions, wire } from './wiring.ts'

export { EFFECT, type TestQueue } from './wiring.ts'

export const TYPE = 'order.placed'

export interface QueueOptions {
  readonly retry?: Partial<RetryPolicy>
  readonly maxCrashes?: number
  readonly flow?: FlowSettings
  readonly newerVersions?: QueueSettings['newerVersions']
}

/** A queue of its own, so that the tests of a file do not meet. */
export async function makeQueue(pool: pg.Pool, options: QueueOptions = {}): Promise<TestQueue> {
  const name = `q_${randomUUID().slice(0, 8)}`
  const retry = { ...DEFAULT_RETRY, minMs: 1, maxMs: 5, jitter: 'none' as const, ...options.retry }
  const { maxCrashes = 3, flow = {}, newerVersions } = options
  const { rows } = await pool.query(
    'insert into posthaste.queues (name, max_attempts, max_crashes, retry, flow) values ($1, $2, $3, $4, $5) returning id',
    [name, retry.maxAttempts, maxCrashes, JSON.stringify(retry), JSON.stringify(flow)],
  )
  await pool.query('create table if not exists effects (queue text, message_id uuid, n bigint)')
  return { name, kind: 'standard', retry, maxCrashes, flow, newerVersions, number: rows[0].id }
}

/** One process that consumes; everything of it is stopped when the test is over. */
export function processOn<Tx = pg.PoolClient>(url: string, options: WiringOptions<Tx> = {}) {
  const process = wire<Tx>(url, options)
  onTestFinished(process.stop)
  return process
}

export type Publishing = PublishOptions & { type?: string; payload?: unknown; version?: number }

/** Publishes messages `{ n }` to the queue in one transaction; the ids in order. */
export async function publish(
  pool: pg.Pool,
  queue: TestQueue,
  count: number,
  options: (n: number) => Publishing = () => ({}),
): Promise<string[]> {
  const outbox = new Outbox({ tables: tablesOf('posthaste'), limits: DEFAULT_LIMITS, events: new EventBus() })
  const client = await pool.connect()
  try {
    await client.query('begin')
    const messages: Publishable[] = Array.from({ length: count }, (_, n) => ({
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
export async function accountOf(pool: pg.Pool, queue: TestQueue): Promise<Account> {
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
export async function drained(pool: pg.Pool, queue: TestQueue, ends: number, timeoutMs = 20_000): Promise<void> {
  await until(async () => (await endsOf(pool, queue)) >= ends, { timeoutMs, what: `${ends} ends in ${queue.name}` })
}

/** How many deliveries of a queue have come to an end, of whatever kind. */
export async function endsOf(pool: pg.Pool, queue: TestQueue): Promise<number> {
  const { rows } = await pool.query(
    `select coalesce(sum(n), 0)::int as n from posthaste.counters()
     where scope = 'queue' and name = $1 and counter in ('completed', 'dead', 'expired', 'discarded')`,
    [queue.name],
  )
  return rows[0].n
}

/** How often each message took effect. */
export async function effectsOf(pool: pg.Pool, queue: TestQueue): Promise<Map<string, number>> {
  const { rows } = await pool.query('select message_id, count(*)::int as n from effects where queue = $1 group by 1', [
    queue.name,
  ])
  return new Map(rows.map(({ message_id, n }) => [message_id, n]))
}

export interface Numbered {
  readonly n: number
}

export interface DeadLetter {
  readonly message_id: string
  readonly reason: string
  readonly attempts: number
  readonly crashes: number
  readonly history: readonly { attempt: number; at: string; name: string; message: string; code?: string }[]
  readonly payload: unknown
  readonly type: string | null
}

export async function deadLettersOf(pool: pg.Pool, queue: TestQueue): Promise<DeadLetter[]> {
  const { rows } = await pool.query(
    'select message_id, reason, attempts, crashes, history, payload, type from posthaste.dead_letters where queue = $1 order by id',
    [queue.number],
  )
  return rows
}

/** The processed ids of the queue's consumer. */
export async function inboxOf(pool: pg.Pool, queue: TestQueue): Promise<Set<string>> {
  const { rows } = await pool.query(
    `select message_id from posthaste.inbox where consumer = $1
     union all select message_id from posthaste.inbox_other where consumer = $1`,
    [queue.name],
  )
  return new Set(rows.map(({ message_id }) => message_id))
}

/** Publishes, routes and waits until all is ready: for tests that look at what a claim does. */
export async function publishReady(
  pool: pg.Pool,
  queue: TestQueue,
  count: number,
  options?: (n: number) => Publishing,
): Promise<string[]> {
  const ids = await publish(pool, queue, count, options)
  await until(async () => {
    await pool.query('select posthaste.relay_cycle(5000, false)')
    const { rows } = await pool.query(
      'select count(*)::int as n from posthaste.ready where queue = $1 and message_id = any ($2)',
      [queue.number, ids],
    )
    return rows[0].n === ids.length
  })
  return ids
}

/** A promise to be settled from outside. */
export function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: () => resolve() }
}
