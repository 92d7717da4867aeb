import pg from 'pg'
import { z } from 'zod'
import { type Database, defineMessage, defineTopology, type Logger, Posthaste, pgDatabase } from '../../src/index.ts'

/** The smallest shop that shows a loss or a doubling: orders in, one effect per service out, and no unique key to hide behind. */
export const OrderPlaced = defineMessage('order.placed', z.object({ order: z.int(), note: z.string().optional() }), {
  exchange: 'orders',
  key: ({ order }) => String(order % 20),
})

export const SERVICES = ['billing', 'shipping'] as const
export type Service = (typeof SERVICES)[number]

export const topology = defineTopology({
  exchanges: { orders: 'fanout' },
  queues: {
    billing: { from: [OrderPlaced], retry: { minMs: 10, maxMs: 200, maxAttempts: 5 } },
    shipping: { from: [OrderPlaced], retry: { minMs: 10, maxMs: 200, maxAttempts: 5 } },
  },
})

export const TABLES = `
  create table orders (id bigint);
  create table effects (service text, id bigint, at timestamptz default clock_timestamp())`

export interface ShopOptions {
  readonly logger?: Logger
  readonly retryFast?: boolean
  readonly max?: number
}

/** One process' part of it, on a pool of its own. */
export function shopOn(url: string, { logger, max = 20 }: ShopOptions = {}) {
  const pool = new pg.Pool({ connectionString: url, max })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  const database: Database<pg.PoolClient> = pgDatabase(pool)
  const posthaste = new Posthaste({ database, topology, ...(logger ? { logger } : {}) })
  return {
    pool,
    posthaste,
    async close() {
      await posthaste.stop({ timeoutMs: 5_000 })
      await pool.end()
    },
  }
}

export type Shop = ReturnType<typeof shopOn>

/** Each service writes one effect per order. */
export function serve({ posthaste }: Shop, work: (order: number) => Promise<void> = async () => {}): void {
  for (const service of SERVICES) {
    posthaste.consumer(service, { concurrency: 2 }).on(OrderPlaced, async ({ payload }, { tx }) => {
      await tx.query('insert into effects (service, id) values ($1, $2)', [service, payload.order])
      await work(payload.order)
    })
  }
}

/** Places an order: the row and its message, in one transaction; now and then it is rolled back. */
export async function place({ pool, posthaste }: Shop, order: number, { rollback = false } = {}): Promise<void> {
  const client = await pool.connect()
  let broken = false
  try {
    await client.query('begin')
    await client.query('insert into orders values ($1)', [order])
    await posthaste.publish(client, OrderPlaced.create({ order }))
    await client.query(rollback ? 'rollback' : 'commit')
  } catch (error) {
    broken = true
    throw error
  } finally {
    client.release(broken)
  }
}

export interface Verdict {
  readonly orders: number
  readonly lost: number
  readonly doubled: number
  readonly phantom: number
  readonly difference: number
  readonly waiting: number
}

/** What became of every order, by plain SQL. The account is taken once: between two of them a message may be routed, and is in neither. */
export async function judge(pool: pg.Pool): Promise<Verdict> {
  const { rows } = await pool.query(`
    with account as materialized (select * from posthaste.audit()),
         seen as (select service, id, count(*) as n from effects group by service, id),
         wanted as (select o.id, s.service from orders o cross join (values ('billing'), ('shipping')) s (service))
    select (select count(*)::int from orders) as orders,
           (select count(*)::int from wanted w where not exists (select from seen s where s.id = w.id and s.service = w.service)) as lost,
           (select count(*)::int from seen where n > 1) as doubled,
           (select count(*)::int from seen s where not exists (select from orders o where o.id = s.id)) as phantom,
           (select coalesce(sum(abs(difference)), 0)::int from account) as difference,
           (select coalesce(sum(ready + scheduled + leased), 0)::int from account where scope = 'queue')
             + (select coalesce(sum(unrouted), 0)::int from account where scope = 'exchange') as waiting`)
  return rows[0]
}
