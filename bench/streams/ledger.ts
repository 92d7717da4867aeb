import type pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { routeAll } from '../stand/backlog.ts'
import type { Bench } from '../stand/bench.ts'

/** What the streams carry: some 90 bytes of payload; `at` is when it was published, by the machine's monotonic clock. */
export const Sensed = defineMessage('sensed', z.object({ sensor: z.string(), cents: z.int(), at: z.number() }), {
  exchange: 'sensors',
  key: ({ sensor }) => sensor,
})

export const streams = defineTopology({
  exchanges: { sensors: 'topic' },
  queues: { ledger: { kind: 'stream', from: [Sensed] } },
})

/** The same messages for competing consumers. */
export const standard = defineTopology({ exchanges: { sensors: 'topic' }, queues: { work: { from: [Sensed] } } })

const AT_ONCE = 1_000
const CHUNK = 5_000

/** A database with so many messages in its log, all of them seen by the relay: to be cloned. */
export async function logged(
  bench: Bench,
  messages: number,
  {
    topology = streams,
    keys = 10_000,
  }: { readonly topology?: typeof streams | typeof standard; readonly keys?: number } = {},
): Promise<string> {
  const database = await declared(bench, topology)
  const pool = bench.pool(database, 2)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
  for (let from = 0; from < messages; from += AT_ONCE)
    await publish(pool, posthaste, batch(from, Math.min(AT_ONCE, messages - from), keys))
  await routeAll(pgDatabase(pool), CHUNK)
  await pool.query('vacuum analyze')
  await bench.end(pool)
  return database
}

/** An empty one. */
export async function declared(bench: Bench, topology: typeof streams | typeof standard = streams): Promise<string> {
  const database = await bench.database()
  const pool = bench.pool(database, 1)
  await new Posthaste({ database: pgDatabase(pool), topology }).declare()
  await bench.end(pool)
  return database
}

export function batch(from: number, count: number, keys: number, at = 0) {
  return Array.from({ length: count }, (_, i) =>
    Sensed.create({ sensor: `sensor-${(from + i) % keys}`, cents: 4_200 + i, at }),
  )
}

export async function publish(
  pool: pg.Pool,
  posthaste: Posthaste<pg.PoolClient>,
  messages: ReturnType<typeof batch>,
): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await posthaste.publish(client, messages)
    await client.query('commit')
  } finally {
    client.release()
  }
}
