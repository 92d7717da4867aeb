import pg from 'pg'
import { seeded } from '../support/random.ts'
import { type Bench, uuid7 } from './bench.ts'

export interface StormOptions {
  readonly seed: number
  readonly writers: number
  readonly durationMs: number
  /** The largest transaction. */
  readonly bulk?: number
  readonly relays?: number
}

/**
 * Writers that commit, roll back, nest savepoints, prepare, dawdle and pour, while relays route in chunks of all sizes.
 * Answers the ids of what was committed.
 */
export async function storm(b: Bench, { seed, writers, durationMs, bulk = 300, relays = 2 }: StormOptions): Promise<Set<string>> {
  const committed = new Set<string>()
  const pool = new pg.Pool({ connectionString: b.url, max: writers + relays + 2 })
  const until = performance.now() + durationMs
  const clients = await Promise.all(Array.from({ length: writers }, () => pool.connect()))
  const weather: Weather = { bench: b, pool, committed, bulk, over: () => performance.now() > until }
  let writing = true
  const routing = Array.from({ length: relays }, async (_, n) => {
    const random = seeded(seed + 1_000 + n)
    while (writing) await b.cycle({ chunk: 1 + Math.floor(random() ** 3 * 500), on: pool })
  })
  await Promise.all(clients.map((client, n) => write(client, seeded(seed + n), weather)))
  writing = false
  await Promise.all(routing)
  for (const client of clients) client.release()
  await pool.end()
  return committed
}

interface Weather {
  readonly bench: Bench
  readonly pool: pg.Pool
  readonly committed: Set<string>
  readonly bulk: number
  readonly over: () => boolean
}

async function write(client: pg.PoolClient, random: () => number, weather: Weather): Promise<void> {
  const { bench: b, pool, committed, bulk, over } = weather
  const chance = (share: number) => random() < share
  while (!over()) {
    const ids: string[] = []
    const put = async () => ids.push(...(await b.publishMany(client, 1 + Math.floor(random() * 3))))
    await client.query('begin; set local posthaste.wake = off')
    if (chance(0.3)) await client.query('select pg_current_xact_id()')
    await put()
    if (chance(0.3)) {
      await client.query('savepoint inner_one')
      const before = ids.length
      await put()
      if (chance(0.5)) {
        await client.query('rollback to inner_one')
        ids.length = before
      }
      if (chance(0.5)) await put()
    }
    if (chance(0.02)) ids.push(...(await b.publishMany(client, bulk)))
    if (chance(0.02)) await client.query('select pg_sleep($1)', [0.1 + random() * 0.9])
    if (chance(0.3)) await put()

    if (chance(0.1)) {
      await client.query('rollback')
    } else if (chance(0.1)) {
      const name = uuid7()
      await client.query(`prepare transaction '${name}'`)
      await client.query('select pg_sleep($1)', [random() * 0.1])
      const kept = chance(0.8)
      await pool.query(`${kept ? 'commit' : 'rollback'} prepared '${name}'`)
      if (kept) for (const id of ids) committed.add(id)
    } else {
      await client.query('commit')
      for (const id of ids) committed.add(id)
    }
  }
}

/** What became of the messages, against what was committed. */
export async function reckon(b: Bench, committed: ReadonlySet<string>) {
  const routed = await b.ids()
  const seen = new Set(routed)
  return {
    lost: [...committed].filter((id) => !seen.has(id)),
    phantoms: [...seen].filter((id) => !committed.has(id)),
    repeated: routed.length - seen.size,
  }
}

