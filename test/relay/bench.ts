import { randomUUID } from 'node:crypto'
import pg from 'pg'
import type { Context } from '../../src/context.ts'
import { pgDatabase } from '../../src/databases/pg.ts'
import { EventBus, type EventName } from '../../src/events.ts'
import { Listener, type ListenerOptions } from '../../src/postgres/listener.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { Relay, type RelayOptions } from '../../src/relay.ts'
import { onTestFinished } from '../support/side-by-side.ts'

export const QUEUE = 'billing'

/** What a process that relays is made of; everything is stopped when the test is over. */
export function processOn(
  url: string,
  options: {
    relay?: RelayOptions
    listener?: ListenerOptions
    max?: number
    listenUrl?: string
    /** What this process' adapter does otherwise. */
    database?: Partial<Pick<Context['database'], 'query' | 'session'>> | { session: undefined }
  } = {},
) {
  const pool = new pg.Pool({ connectionString: url, max: options.max ?? 4 })
  const real = pgDatabase(pool)
  const database = {
    name: real.name,
    query: real.query.bind(real),
    session: real.session?.bind(real),
    ...options.database,
  } as Context['database']
  const events = new EventBus()
  const story: { name: EventName; event: unknown }[] = []
  events.onAny((name, event) => void story.push({ name, event }))
  const instance = randomUUID()
  const listenUrl = options.listenUrl === undefined ? {} : { listenUrl: options.listenUrl }
  const listener = new Listener({ database, events, instance, ...listenUrl }, options.listener)
  const context: Context = { database, tables: tablesOf('posthaste'), events, listener, instance, ...listenUrl }
  const relay = new Relay(context, options.relay)
  const stop = async () => {
    await relay.stop()
    await listener.stop()
    if (!pool.ended) await pool.end()
  }
  onTestFinished(stop)
  const start = async () => {
    listener.start()
    await relay.start()
  }
  const times = (name: EventName) => story.filter((told) => told.name === name).length
  return { pool, database, events, listener, relay, context, instance, story, times, start, stop }
}

/** A queue that the default exchange routes to. */
export async function declareQueue(pool: pg.Pool, name = QUEUE): Promise<number> {
  const { rows } = await pool.query('insert into posthaste.queues (name) values ($1) returning id', [name])
  return rows[0].id
}

export interface Publishing {
  readonly delayMs?: number
  readonly key?: string
}

/** Publishes one message as any producer would, in whatever transaction the connection is in. */
export async function publish(
  on: Pick<pg.ClientBase, 'query'> | pg.Pool,
  { delayMs }: Publishing = {},
): Promise<string> {
  const message = {
    id: uuid7(),
    exchange: '',
    routing_key: QUEUE,
    type: 'order.placed',
    payload: {},
    ...(delayMs !== undefined && { delay_ms: delayMs }),
  }
  const { rows } = await on.query('select id from posthaste.publish_all($1::text)', [JSON.stringify([message])])
  return rows[0].id
}

/** The messages that are ready for a consumer. */
export async function readyIds(pool: pg.Pool): Promise<Set<string>> {
  const { rows } = await pool.query('select message_id from posthaste.ready')
  return new Set(rows.map(({ message_id }) => message_id))
}

/** Whether somebody has the sleep lock exclusively (a relay asleep), or waits for it (one that asks). */
export async function sleepLock(pool: pg.Pool, state: 'held' | 'asked for'): Promise<boolean> {
  const { rows } = await pool.query(
    `select from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' and granted = $1
       and objid = (posthaste.lock_object('sleep')::bigint & 4294967295)::oid
       and database = (select oid from pg_database where datname = current_database())`,
    [state === 'held'],
  )
  return rows.length > 0
}

/** Has published while the relay was awake, so that it holds the sleep lock shared and will say nothing at its commit. */
export async function silentPublisher(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  onTestFinished(() => client.end())
  await client.connect()
  for (const deadline = performance.now() + 10_000; performance.now() < deadline; ) {
    await client.query('begin')
    await publish(client)
    const { rows } = await client.query(
      `select from pg_locks where pid = pg_backend_pid() and locktype = 'advisory' and mode = 'ShareLock'`,
    )
    if (rows.length > 0) return client
    // It found the relay asleep: its commit wakes it, and at some moment of the next milliseconds the next one is silent.
    await client.query('commit')
    await pause(Math.random() * 5)
  }
  throw new Error('not within 10 s: a publisher finds the relay awake')
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function uuid7(): string {
  const time = Date.now().toString(16).padStart(12, '0')
  const random = randomUUID()
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(15)}`
}
