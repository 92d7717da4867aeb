import type pg from 'pg'
import { type ConsumerOptions, type Delivery, type ExactlyOnceContext, Posthaste, pgDatabase } from '../../src/index.ts'
import type { Bench } from './bench.ts'
import { OrderPlaced, topology } from './shop.ts'
import { WarmRate } from './warm-rate.ts'

type Handler = (
  delivery: Delivery<{ orderId: string }>,
  context: ExactlyOnceContext<pg.PoolClient>,
) => Promise<void> | void

export interface DrainOptions extends Pick<ConsumerOptions, 'batchSize'> {
  readonly messages: number
  readonly connections: number
  readonly timeoutMs?: number
}

/** Lets a consumer empty the queue `billing`: deliveries per second once it is warm, and whether the books balance afterwards. */
export async function drain(bench: Bench, database: string, options: DrainOptions, handler: Handler): Promise<number> {
  const { messages, connections, batchSize = 'auto', timeoutMs = 60_000 } = options
  const pool = bench.pool(database, connections)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
  posthaste.consumer('billing', { concurrency: connections, batchSize }).on(OrderPlaced, handler)
  const completed = new WarmRate(messages)
  const done = Promise.withResolvers<number>()
  posthaste.on('completed', () => {
    if (completed.add()) done.resolve(completed.perSecond())
  })
  const timer = setTimeout(
    () => done.reject(new Error(`Cannot drain: ${completed.count} of ${messages} in ${timeoutMs} ms`)),
    timeoutMs,
  )
  await connect(pool, connections)
  await posthaste.start({ relay: false })
  const rate = await done.promise.finally(() => clearTimeout(timer))
  await posthaste.stop()
  await balanced(posthaste)
  await bench.end(pool)
  return rate
}

async function connect(pool: pg.Pool, connections: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: connections }, () => pool.connect()))
  for (const client of clients) client.release()
}

async function balanced(posthaste: Posthaste<pg.PoolClient>): Promise<void> {
  const { difference } = await posthaste.audit()
  if (difference !== 0) throw new Error(`Cannot trust a run: the audit's difference is ${difference}`)
}
