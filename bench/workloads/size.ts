import type { Bench } from '../stand/bench.ts'
import { installed, publishMany } from '../stand/filled.ts'
import { until } from '../stand/load.ts'
import type { Peer, Tuning } from '../stand/peer.ts'
import { placeOrder } from '../stand/publishing.ts'
import { able } from '../stand/rounds.ts'
import { runOn } from '../stand/server.ts'
import type { Workload } from '../stand/workload.ts'

const MESSAGES = 20_000
const QUICK_MESSAGES = 3_000
const SINGLES = 2_000
const CLIENTS = 4
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: false }

/**
 * Bytes of the write-ahead log for a message, published 1,000 at once or one by one beside its order, and for consuming it with one
 * insert as effect; and what the database has grown by when all is done, before and after a vacuum.
 */
export const size: Workload = {
  name: 'size',
  goals: [],
  deadlineMs: 240_000,
  async run(bench) {
    const { able: peers, unable } = await able(['consume', 'wake-up'])
    const figures: Record<string, unknown> = {}
    const rows: { side: string; x: string; y: number }[] = []
    for (const peer of peers) {
      const figure = await sized(bench, peer)
      figures[peer.name] = figure
      bench.say(`  ${peer.name}: ${JSON.stringify(figure)}`)
      rows.push({ side: peer.name, x: 'published in bulk', y: figure.walPublished })
      rows.push({ side: peer.name, x: 'published one by one', y: figure.walPublishedOneByOne })
      rows.push({ side: peer.name, x: 'consumed', y: figure.walConsumed })
    }
    return {
      measured: [],
      report: {
        messages: MESSAGES,
        unit: 'bytes a message',
        figures: { ...figures, ...unable },
        plots: [{ name: 'wal', title: 'Write-ahead log for a message', kind: 'bars', x: 'phase', y: 'bytes', rows }],
      },
    }
  },
}

async function sized(bench: Bench, peer: Peer) {
  const messages = bench.quick ? QUICK_MESSAGES : MESSAGES
  const database = await installed(bench, peer, TUNING)
  const url = bench.urlOf(database)
  await publishMany(bench, peer, TUNING, database, 'order.placed', 1_000)
  await runOn(url, 'checkpoint')
  const begin = await sizeOf(bench, database)
  const publishedFrom = await walOf(bench)
  await publishMany(bench, peer, TUNING, database, 'order.placed', messages)
  const publishedTo = await walOf(bench)
  const published = await sizeOf(bench, database)
  const singles = await oneByOne(bench, peer, database)
  const singlesTo = await walOf(bench)
  await runOn(url, 'checkpoint')
  const consumedFrom = await walOf(bench)
  const all = messages + 1_000 + singles
  const worker = await bench.worker(database, peer, work(), { effect: true })
  await until('all is handled', async () => (await worker.usage()).handled >= all, { timeoutMs: 120_000, everyMs: 50 })
  await worker.stop()
  const consumedTo = await walOf(bench)
  const end = await sizeOf(bench, database)
  await runOn(url, 'vacuum')
  const vacuumed = await sizeOf(bench, database)
  await bench.drop(database)
  return {
    walPublished: Math.round((publishedTo - publishedFrom) / messages),
    walPublishedOneByOne: Math.round((singlesTo - publishedTo) / singles),
    walConsumed: Math.round((consumedTo - consumedFrom) / all),
    databasePublished: Math.round((published - begin) / messages),
    databaseAfterwards: Math.round((end - begin) / all),
    databaseVacuumed: Math.round((vacuumed - begin) / all),
  }
}

function work() {
  return { ...TUNING, queues: ['billing'], connections: 10, effects: true }
}

async function oneByOne(bench: Bench, peer: Peer, database: string): Promise<number> {
  const clients = await bench.clients(database, CLIENTS)
  const publisher = await peer.publisher(bench.urlOf(database), TUNING)
  let placed = 0
  await Promise.all(
    clients.map(async (client) => {
      while (placed < SINGLES) {
        placed += 1
        await placeOrder(peer, client, publisher, 1_000_000 + placed)
      }
    }),
  )
  await publisher.close()
  for (const client of clients) client.release(true)
  return placed
}

async function walOf(bench: Bench): Promise<number> {
  const { rows } = await runOn(bench.server.url, `select (pg_current_wal_lsn() - '0/0')::float8 as bytes`)
  return rows[0].bytes
}

async function sizeOf(bench: Bench, database: string): Promise<number> {
  const { rows } = await runOn(bench.server.url, `select pg_database_size('${database}')::float8 as bytes`)
  return rows[0].bytes
}
