import type pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { run } from '../../src/postgres/queryable.ts'
import { relayCycle } from '../../src/postgres/relay.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import type { Bench } from './bench.ts'
import { OrderPlaced, topology } from './shop.ts'

const AT_ONCE = 1_000
const PUBLISHERS = 2
const CHUNK = 5_000
const tables = tablesOf('posthaste')

/** A database with so many published messages in it, none routed: to be cloned. `keyOf` says what each is about. */
export async function published(
  bench: Bench,
  messages: number,
  keyOf: (n: number) => string = String,
): Promise<string> {
  const database = await bench.database()
  const pool = bench.pool(database, PUBLISHERS)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
  let next = 0
  const publisher = async () => {
    while (next < messages) {
      const from = next
      next = Math.min(next + AT_ONCE, messages)
      await publish(pool, posthaste, from, next, keyOf)
    }
  }
  await Promise.all(Array.from({ length: PUBLISHERS }, publisher))
  await bench.end(pool)
  return database
}

/** The same, all of it ready in the queue `billing`. */
export async function routed(bench: Bench, messages: number, keyOf?: (n: number) => string): Promise<string> {
  const database = await published(bench, messages, keyOf)
  const pool = bench.pool(database, 1)
  const deliveries = await routeAll(pgDatabase(pool), CHUNK)
  await bench.end(pool)
  if (deliveries !== messages) throw new Error(`Cannot go on: ${deliveries} of ${messages} messages are ready`)
  return database
}

/** Calls the relay's cycle until there is nothing more to do, as a busy relay does. */
export async function routeAll(database: Parameters<typeof run>[0], chunk: number): Promise<number> {
  let deliveries = 0
  for (;;) {
    const [cycle] = await run(database, relayCycle(tables, { chunk, sweep: false }))
    deliveries += cycle!.deliveries
    if (!cycle!.more && cycle!.messages === 0) return deliveries
  }
}

async function publish(
  pool: pg.Pool,
  posthaste: Posthaste<pg.PoolClient>,
  from: number,
  to: number,
  keyOf: (n: number) => string,
) {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await posthaste.publish(client, orders(from, to, keyOf))
    await client.query('commit')
  } finally {
    client.release()
  }
}

function orders(from: number, to: number, keyOf: (n: number) => string) {
  return Array.from({ length: to - from }, (_, i) => {
    const orderId = keyOf(from + i)
    return OrderPlaced.create({ orderId, cents: 4_200 + i, country: 'NL' })
  })
}
