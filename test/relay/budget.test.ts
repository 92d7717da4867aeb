import { expect, test } from 'vitest'
import { queueChannel } from '../../src/postgres/channels.ts'
import { lonelyServer, noLonelyServer } from '../support/database.ts'
import { applyMigrations, databaseUrl, run } from '../support/server.ts'
import { until } from '../support/until.ts'
import { declareQueue, processOn, silentPublisher, sleepLock } from './bench.ts'

const WINDOW_MS = 12_000
const QUEUES = 20

type Bench = Awaited<ReturnType<typeof benchOn>>

test.skipIf(noLonelyServer)(
  'an idle process sends fewer than 2 statements a second: 1, 2 and 5 relays, 20 queues, an open publisher, an orphaned prepared transaction',
  { timeout: 90_000 },
  async () => {
    await using lonely = await lonelyServer({ settings: { shared_preload_libraries: 'pg_stat_statements' } })
    await run(lonely.url, 'create extension pg_stat_statements')
    await run(lonely.url, 'create database migrated')
    await applyMigrations(databaseUrl(lonely.url, 'migrated'))
    const benches = [
      await benchOn(lonely.url, 'one_relay', 1),
      await benchOn(lonely.url, 'two_relays', 2),
      await benchOn(lonely.url, 'five_relays', 5),
      await benchOn(lonely.url, 'open_publisher', 1, openPublisher),
      await benchOn(lonely.url, 'open_publisher_five_relays', 5, openPublisher),
      await benchOn(lonely.url, 'prepared', 2, orphanedPrepared),
    ]
    await Promise.all(benches.map(settled))

    await lonely.pool.query('select pg_stat_statements_reset()')
    const startedAt = performance.now()
    await new Promise((resolve) => setTimeout(resolve, WINDOW_MS))
    const seconds = (performance.now() - startedAt) / 1_000
    const counts = new Map((await lonely.pool.query(COUNT)).rows.map(({ name, calls }) => [name, Number(calls)]))
    const rates = benches.map(({ name, relays }) => [name, (counts.get(name) ?? 0) / seconds / relays.length] as const)
    console.info('statements per second and process', Object.fromEntries(rates))

    for (const [name, rate] of rates) expect(rate, name).toBeLessThan(2)
    // the polls are counted: it is the statements of the relays that this test sees
    for (const [name, rate] of rates) expect(rate, name).toBeGreaterThan(0.5)
    const { rows } = await lonely.pool.query(LONGEST_WAIT_FOR_DUTY)
    expect(rows[0].waiting).toBe(benches.reduce((sum, { relays }) => sum + relays.length - 1, 0))
    expect(rows[0].seconds, 'a waiting relay keeps vacuum back for no longer than a slice').toBeLessThan(10.5)
  },
)

const COUNT = `
  select d.datname as name, sum(s.calls) as calls
  from pg_stat_statements(true) s join pg_database d on d.oid = s.dbid
  group by 1`

const LONGEST_WAIT_FOR_DUTY = `
  select count(*)::int as waiting, extract(epoch from max(clock_timestamp() - query_start))::float8 as seconds
  from pg_stat_activity where query like '%wait_for_duty%' and state = 'active' and pid <> pg_backend_pid()`

async function benchOn(server: string, name: string, relays: number, disturb?: (url: string) => Promise<void>) {
  await run(server, `create database ${name} template migrated`)
  const url = databaseUrl(server, name)
  const processes = Array.from({ length: relays }, () => processOn(url))
  for (const process of processes) await process.start()
  const [first] = processes
  const queue = await declareQueue(first!.pool)
  for (const { listener, context } of processes) {
    for (let i = 0; i < QUEUES; i++) listener.subscribe(queueChannel(context.tables, queue + i), () => {})
  }
  return { name, url, relays: processes, disturb }
}

// Asleep, or asking in vain, on the database's own word.
async function settled({ url, relays, disturb }: Bench): Promise<void> {
  await until(() => relays.some(({ relay }) => relay.onDuty))
  await disturb?.(url)
  await until(() => sleepLock(relays[0]!.pool, disturb ? 'asked for' : 'held'))
  await until(() => relays.every(({ listener }) => listener.healthy))
  if (disturb) await new Promise((resolve) => setTimeout(resolve, 1_500))
}

async function openPublisher(url: string): Promise<void> {
  await silentPublisher(url)
}

async function orphanedPrepared(url: string): Promise<void> {
  const client = await silentPublisher(url)
  await client.query(`prepare transaction 'orphan'`)
}
