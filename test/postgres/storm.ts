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
export async function storm(
  b: Bench,
  { seed, writers, durationMs, bulk = 300, relays = 2 }: StormOptions,
): Promise<Set<string>> {
  const committed = new Set<string>()
  const pool = new pg.Pool({ connectionString: b.url, max: writers + relays + 2 })
  await pool.query('create table accounts as select id, 0 as n from generate_series(0, 9) id')
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

type Chance = (share: number) => boolean

async function write(client: pg.PoolClient, random: () => number, weather: Weather): Promise<void> {
  const chance: Chance = (share) => random() < share
  while (!weather.over()) {
    await client.query('begin; set local posthaste.wake = off')
    const ids = await say(client, random, weather)
    if (await isKept(client, random, weather)) for (const id of ids) weather.committed.add(id)
    if (chance(0.05)) await client.query('select pg_sleep(0.005)')
  }
}

/** What one transaction publishes, without what its savepoints took back. */
async function say(client: pg.PoolClient, random: () => number, { bench: b, bulk }: Weather): Promise<string[]> {
  const chance: Chance = (share) => random() < share
  const ids: string[] = []
  const put = async (n = 1 + Math.floor(random() * 3)) => void ids.push(...(await b.publishMany(client, n)))
  if (chance(0.3)) await client.query('select pg_current_xact_id()')
  if (chance(0.3)) {
    const account = Math.floor(random() * 10)
    const { rows } = await client.query('update accounts set n = n + 1 where id = $1 returning n', [account])
    ids.push(...(await b.publish(client, { key: `account-${account}`, payload: rows[0].n })))
  }
  await put()
  if (chance(0.3)) {
    const before = ids.length
    await client.query('savepoint inner_one')
    await put()
    if (chance(0.5)) {
      await client.query('rollback to inner_one')
      ids.length = before
    }
    if (chance(0.5)) await put()
  }
  if (chance(0.02)) await put(bulk)
  if (chance(0.02)) await client.query('select pg_sleep($1)', [0.1 + random() * 0.9])
  if (chance(0.3)) await put()
  return ids
}

/** Ends the transaction in one way or another. */
async function isKept(client: pg.PoolClient, random: () => number, { pool }: Weather): Promise<boolean> {
  const dice = random()
  if (dice < 0.8) {
    await client.query('commit')
    return true
  }
  if (dice < 0.9) {
    await client.query('rollback')
    return false
  }
  const name = uuid7()
  const kept = random() < 0.8
  await client.query(`prepare transaction '${name}'`)
  await client.query('select pg_sleep($1)', [random() * 0.1])
  await pool.query(`${kept ? 'commit' : 'rollback'} prepared '${name}'`)
  return kept
}

/** What became of the messages, against what was committed; and whether those of one account are in its order. */
export async function reckon(b: Bench, committed: ReadonlySet<string>) {
  const routed = await b.ids()
  const seen = new Set(routed)
  const { rows: disordered } = await b.pool.query(`
    select key, n, before
    from (
      select o.key, o.payload::text::int as n, lag(o.payload::text::int, 1, 0) over (partition by o.key order by r.position) as before
      from posthaste.ready r join posthaste.outbox o on o.id = r.message
      where o.key like 'account-%'
    ) a
    where n <= before`)
  return {
    lost: [...committed].filter((id) => !seen.has(id)),
    phantoms: [...seen].filter((id) => !committed.has(id)),
    repeated: routed.length - seen.size,
    disordered,
  }
}
