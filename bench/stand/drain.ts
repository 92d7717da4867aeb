import type pg from 'pg'
import { type ConsumerOptions, type Delivery, type ExactlyOnceContext, Posthaste, pgDatabase } from '../../src/index.ts'
import type { Bench } from './bench.ts'
import { OrderPlaced, topology } from './shop.ts'

type Handler = (
  delivery: Delivery<{ orderId: string }>,
  context: ExactlyOnceContext<pg.PoolClient>,
) => Promise<void> | void

export interface DrainOptions extends Pick<ConsumerOptions, 'batchSize'> {
  readonly messages: number
  readonly connections: number
  readonly timeoutMs?: number
}

/** Lets a consumer empty the queue `billing`: deliveries per second, and whether the books balance afterwards. */
export async function drain(bench: Bench, database: string, options: DrainOptions, handler: Handler): Promise<number> {
  const { messages, connections, batchSize = 'auto', timeoutMs = 60_000 } = options
  const pool = bench.pool(database, connections)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
  posthaste.consumer('billing', { concurrency: connections, batchSize }).on(OrderPlaced, handler)
  let completed = 0
  const done = Promise.withResolvers<void>()
  posthaste.on('completed', () => {
    completed += 1
    if (completed === messages) done.resolve()
  })
  const timer = setTimeout(
    () => done.reject(new Error(`Cannot drain: ${completed} of ${messages} in ${timeoutMs} ms`)),
    timeoutMs,
  )
  await connect(pool, connections)
  await posthaste.start({ relay: false })
  const startedAt = performance.now()
  await done.promise.finally(() => clearTimeout(timer))
  const seconds = (performance.now() - startedAt) / 1_000
  await posthaste.stop()
  await balanced(posthaste)
  await bench.end(pool)
  return messages / seconds
}

async function connect(pool: pg.Pool, connections: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: connections }, () => pool.connect()))
  for (const client of clients) client.release()
}

async function balanced(posthaste: Posthaste<pg.PoolClient>): Promise<void> {
  const { difference } = await posthaste.audit()
  if (difference !== 0) throw new Error(`Cannot trust a run: the audit's difference is ${difference}`)
}
