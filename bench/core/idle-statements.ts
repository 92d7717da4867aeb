import pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { Bench } from '../stand/bench.ts'
import { pause, until } from '../stand/load.ts'
import { runOn, startServer } from '../stand/server.ts'
import { OrderPlaced, twentyQueues } from '../stand/shop.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const RELAYS = [1, 2, 5]
const WINDOW_MS = 20_000
// What was done last is swept after, ten seconds later at most.
const SETTLE_MS = 12_000
const TRIES = 40

interface Combination {
  readonly name: string
  readonly database: string
  readonly processes: number
}

/**
 * What processes that have nothing to do ask of the server: each runs a relay and the consumers of 20 queues. Every statement
 * is counted, BEGIN and COMMIT too, by pg_stat_statements, on a server of its own; the figure is that of the worst combination.
 */
export const idleStatements: Workload = {
  name: 'idle.statements',
  goals: [{ name: 'idle.statements', unit: 'statements/s and process', measure: { kind: 'below', target: 2 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const server = await startServer(twentyQueues, {
      shared_preload_libraries: 'pg_stat_statements',
      max_connections: 400,
    })
    try {
      await using alone = new Bench(server, (line) => bench.say(line))
      await runOn(server.url, 'create extension pg_stat_statements')
      const combinations = await settled(alone)
      const rates = await counted(alone, combinations)
      const worst = Math.max(...Object.values(rates).map(({ perSecondAndProcess }) => perSecondAndProcess))
      return {
        measured: [{ name: 'idle.statements', ours: worst, baseline: null, runs: combinations.length }],
        report: { queues: twentyQueues.queues.length, seconds: WINDOW_MS / 1_000, combinations: rates },
      }
    } finally {
      await server.stop()
    }
  },
}

async function settled(bench: Bench): Promise<Combination[]> {
  const combinations: Combination[] = []
  for (const processes of RELAYS) {
    combinations.push(await started(bench, processes, 'idle'))
    combinations.push(await started(bench, processes, 'open publisher'))
  }
  for (const { database } of combinations) await emptied(bench, database)
  await pause(SETTLE_MS)
  return combinations
}

async function started(bench: Bench, processes: number, state: 'idle' | 'open publisher'): Promise<Combination> {
  const database = await bench.database()
  await bench.process(database, { relay: true, consume: 'twenty queues' })
  await Promise.all(
    Array.from({ length: processes - 1 }, () =>
      bench.process(database, { relay: true, standby: true, consume: 'twenty queues' }),
    ),
  )
  if (state === 'open publisher') await leaveOpen(bench, database)
  return { name: `${processes} ${processes === 1 ? 'relay' : 'relays'}, ${state}`, database, processes }
}

/** A transaction that published while the relay was awake, silently: the relay cannot get the sleep lock before it ends. */
async function leaveOpen(bench: Bench, database: string): Promise<void> {
  const pool = bench.pool(database, 5)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology: twentyQueues })
  for (let tries = 0; tries < TRIES; tries += 1) {
    const client = new pg.Client({ connectionString: bench.urlOf(database) })
    client.on('error', () => {})
    await client.connect()
    await client.query('begin')
    const noise = Promise.all([1, 2, 3, 4].map(() => some(pool, posthaste)))
    await pause(Math.random() * 20)
    await posthaste.publish(client, OrderPlaced.create({ orderId: '1', cents: 4_200, country: 'NL' }))
    await noise
    if (await silent(client)) return
    await client.end()
  }
  throw new Error('Cannot leave a publisher open: each of them met a relay that slept')
}

/** What was published to keep the relay awake has been consumed. */
async function emptied(bench: Bench, database: string): Promise<void> {
  const pool = bench.pool(database, 1)
  const left = async () =>
    (await pool.query('select from posthaste.ready union all select from posthaste.scheduled')).rows.length
  await until('the queues are empty', async () => (await left()) === 0, { timeoutMs: 30_000, everyMs: 200 })
  await bench.end(pool)
}

async function some(pool: pg.Pool, posthaste: Posthaste<pg.PoolClient>): Promise<void> {
  for (let i = 0; i < 15; i += 1) {
    const client = await pool.connect()
    await client.query('begin')
    await posthaste.publish(client, OrderPlaced.create({ orderId: String(i), cents: 4_200, country: 'NL' }))
    await client.query('commit')
    client.release()
  }
}

async function silent(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(
    `select from pg_locks where pid = pg_backend_pid() and locktype = 'advisory' and mode = 'ShareLock'`,
  )
  return rows.length > 0
}

async function counted(bench: Bench, combinations: readonly Combination[]) {
  await runOn(bench.server.url, 'select pg_stat_statements_reset()')
  const startedAt = performance.now()
  await pause(WINDOW_MS)
  const seconds = (performance.now() - startedAt) / 1_000
  const { rows } = await runOn(
    bench.server.url,
    `select d.datname, sum(s.calls)::float8 as calls, jsonb_object_agg(left(regexp_replace(s.query, '\\s+', ' ', 'g'), 100), s.calls) as statements
     from pg_stat_statements s join pg_database d on d.oid = s.dbid
     group by d.datname`,
  )
  const calls = new Map(rows.map((row) => [row.datname, row]))
  return Object.fromEntries(
    combinations.map(({ name, database, processes }) => {
      const row = calls.get(database)
      const perSecondAndProcess = rounded((row?.calls ?? Number.NaN) / seconds / processes)
      return [name, { perSecondAndProcess, statements: row?.statements }]
    }),
  )
}
