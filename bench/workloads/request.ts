import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import type { Bench } from '../stand/bench.ts'
import { installed } from '../stand/filled.ts'
import { pause, until } from '../stand/load.ts'
import { openLoop } from '../stand/open-loop.ts'
import type { Peer, Tuning, WorkOptions } from '../stand/peer.ts'
import { plain } from '../stand/plain.ts'
import { DUAL_WRITE, placeOrder } from '../stand/publishing.ts'
import { able } from '../stand/rounds.ts'
import { percentile } from '../stand/runs.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const PER_SECOND = 100
const SECONDS = 8
const CONNECTIONS = 16
const PROVIDER_MS = 20
const EFFECTS = 3
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: true }
const WORK: WorkOptions = { ...TUNING, queues: ['billing'], connections: 10, effects: true }
const insertOrder = plain('publish-tx')('insert_order')
const insertEffect = plain('effect')('insert_effect')

/**
 * A request that takes an order, 100 a second: with the work inline (three inserts, and a provider that answers in
 * 20 ms, in the request's transaction), and with one message published in its place.
 */
export const request: Workload = {
  name: 'request',
  goals: [],
  deadlineMs: 240_000,
  async run(bench) {
    const { able: peers, unable } = await able(['wake-up'])
    const inline = await inlined(bench, peers[0]!)
    bench.say(`  inline: ${JSON.stringify(inline)}`)
    const published: Record<string, Record<string, unknown>> = {}
    for (const peer of peers) {
      published[peer.name] = await publishing(bench, peer)
      bench.say(`  ${peer.name}: ${JSON.stringify(published[peer.name])}`)
    }
    return {
      measured: [],
      report: {
        perSecond: PER_SECOND,
        inlineWork: `${EFFECTS} inserts and ${PROVIDER_MS} ms of a provider`,
        figures: { inline, ...published, ...unable },
        plots: [
          {
            name: 'request',
            title: 'A request, its work inline and published',
            kind: 'bars',
            x: 'percentile',
            y: 'ms',
            rows: Object.entries({ inline, ...published }).flatMap(([side, { p50, p99 }]) => [
              { side, x: 'p50', y: p50 as number },
              { side, x: 'p99', y: p99 as number },
            ]),
          },
        ],
      },
    }
  },
}

async function inlined(bench: Bench, peer: Peer) {
  const database = await installed(bench, peer, TUNING)
  const pool = bench.pool(database, CONNECTIONS)
  const answered = await requests(pool, async (client) => {
    await client.query('begin')
    await client.query({ ...insertOrder, values: [randomUUID(), 4_200, 'NL'] })
    for (let i = 0; i < EFFECTS; i += 1) await client.query({ ...insertEffect, values: ['1', 4_200] })
    await pause(PROVIDER_MS)
    await client.query('commit')
  })
  await bench.end(pool)
  await bench.drop(database)
  return answered
}

async function publishing(bench: Bench, peer: Peer) {
  const database = await installed(bench, peer, TUNING)
  const worker = await bench.worker(database, peer, WORK)
  const publisher = await peer.publisher(bench.urlOf(database), TUNING)
  const pool = bench.pool(database, CONNECTIONS)
  let placed = 0
  const answered = await requests(pool, async (client) => {
    placed += 1
    await placeOrder(peer, client, publisher, placed)
  })
  await until('all is handled', async () => (await worker.usage()).handled >= placed, { timeoutMs: 60_000 })
  await publisher.close()
  await bench.end(pool)
  await worker.stop()
  await bench.drop(database)
  return { ...answered, ...(peer.cannot['publish-in-transaction'] && { note: DUAL_WRITE }) }
}

async function requests(pool: pg.Pool, answer: (client: pg.PoolClient) => Promise<void>) {
  const once = async () => {
    const client = await pool.connect()
    await answer(client)
    client.release()
  }
  await openLoop({ perSecond: PER_SECOND, seconds: 2 }, once)
  const sent = await openLoop({ perSecond: PER_SECOND, seconds: SECONDS }, once)
  const at = (share: number) =>
    rounded(
      percentile(
        sent.map(({ tookMs }) => tookMs),
        share,
      ),
    )
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) }
}
