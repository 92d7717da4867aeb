import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { ClaimLoop } from '../../src/consumer/claim-loop.ts'
import { Consumer, type ConsumerOptions, type Guarantee } from '../../src/consumer.ts'
import type { Context } from '../../src/context.ts'
import type { Database } from '../../src/database.ts'
import { pgDatabase } from '../../src/databases/pg.ts'
import { EventBus, type EventName, type Events } from '../../src/events.ts'
import { Outbox } from '../../src/outbox.ts'
import { Listener } from '../../src/postgres/listener.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { Queue } from '../../src/queue.ts'
import { Relay } from '../../src/relay.ts'
import type { QueueSettings } from '../../src/rules/topology.ts'
import { DEFAULT_LIMITS } from '../../src/rules/validate.ts'

export interface WiringOptions<Tx> {
  readonly database?: (pool: pg.Pool) => Database<Tx>
  readonly max?: number
  /** False: deliveries are routed by nobody unless another process does. @default true */
  readonly relay?: boolean
}

export type TestQueue = QueueSettings & { readonly number: number }

/** What one process that consumes is made of. */
export function wire<Tx = pg.PoolClient>(url: string, options: WiringOptions<Tx> = {}) {
  const pool = new pg.Pool({ connectionString: url, max: options.max ?? 15 })
  pool.on('error', () => {})
  const database = options.database?.(pool) ?? (pgDatabase(pool) as unknown as Database<Tx>)
  const events = new EventBus()
  const story: { readonly name: EventName; readonly event: unknown }[] = []
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

  const consumer = <const G extends Guarantee = 'exactly-once-effects'>(
    queue: TestQueue,
    given: ConsumerOptions<G> = {},
  ) => {
    const place = { context, claims, outbox, queue, number: async () => queue.number, wakeRelay: () => relay.wake() }
    const made = new Consumer<Tx, G>(place, given)
    consumers.push(made)
    return made
  }
  const operate = ({ name }: TestQueue) =>
    new Queue<Tx>(
      {
        context,
        claims,
        outbox,
        wakeRelay: () => relay.wake(),
        drain: () => Promise.reject(new Error('no drain here')),
      },
      name,
    )
  const told = <Name extends EventName>(name: Name): Events[Name][] =>
    story.filter((one) => one.name === name).map(({ event }) => event as Events[Name])
  return { pool, database, events, story, told, context, outbox, relay, claims, consumer, operate, stop }
}

/** What most handlers of these tests do. */
export const EFFECT = 'insert into effects (queue, message_id, n) values ($1, $2, $3)'
