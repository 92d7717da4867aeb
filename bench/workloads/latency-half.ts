import type { Bench } from '../stand/bench.ts'
import { installed } from '../stand/filled.ts'
import { closedLoop, pause, until } from '../stand/load.ts'
import { openLoop } from '../stand/open-loop.ts'
import type { Peer, Tuning, WorkOptions } from '../stand/peer.ts'
import { placeOrder } from '../stand/publishing.ts'
import { able } from '../stand/rounds.ts'
import { percentile } from '../stand/runs.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const CLIENTS = 8
const ROUNDS = 2
const SATURATION = { warmUpMs: 500, measureMs: 2_000 }
const SECONDS = 5
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: true }
const WORK: WorkOptions = { ...TUNING, queues: ['billing'], connections: 10, effects: false }

interface Half {
  readonly saturation: number
  readonly latencies: readonly number[]
}

/**
 * How many orders a second 8 connections can place while a consumer in another process keeps up; then half of that, at a steady
 * rate, and the time from sending COMMIT to the handler. Each has its own half: the rates are told.
 */
export const latencyHalf: Workload = {
  name: 'latency.half',
  goals: [],
  deadlineMs: 300_000,
  async run(bench) {
    const { able: peers, unable } = await able(['wake-up'])
    const halves: Record<string, Half[]> = {}
    const templates = new Map<Peer, string>()
    for (const peer of peers) templates.set(peer, await installed(bench, peer, TUNING))
    for (let round = 0; round < (bench.quick ? 1 : ROUNDS); round += 1)
      for (const peer of peers) {
        const half = await atHalf(bench, peer, templates.get(peer)!)
        halves[peer.name] = [...(halves[peer.name] ?? []), half]
        bench.say(`  ${peer.name}: ${JSON.stringify(toldHalf(half))}`)
      }
    return {
      measured: [],
      report: {
        figures: {
          ...Object.fromEntries(Object.entries(halves).map(([name, runs]) => [name, runs.map(toldHalf)])),
          ...unable,
        },
        plots: [
          {
            name: 'latency-half',
            title: 'From COMMIT to the handler, at half of what each can do',
            kind: 'bars',
            x: 'percentile',
            y: 'ms',
            rows: [0.5, 0.99].flatMap((share) =>
              Object.entries(halves).map(([side, runs]) => ({
                side,
                x: `p${share * 100}`,
                y: percentile(
                  runs.flatMap(({ latencies }) => latencies),
                  share,
                ),
              })),
            ),
          },
        ],
      },
    }
  },
}

async function atHalf(bench: Bench, peer: Peer, template: string): Promise<Half> {
  const database = await bench.database(template)
  const worker = await bench.worker(database, peer, WORK, { tell: true })
  const handled = new Map<string, number>()
  worker.onHandled((orderId, at) => handled.set(orderId, at))
  const publisher = await peer.publisher(bench.urlOf(database), TUNING)
  const pool = bench.pool(database, CLIENTS)
  let next = 0
  const place = async () => {
    const client = await pool.connect()
    next += 1
    const n = next
    const sentAt = await placeOrder(peer, client, publisher, n)
    client.release()
    return { n, sentAt }
  }
  const clients = await bench.clients(database, CLIENTS)
  const startedAt = performance.now()
  await closedLoop(clients, SATURATION, (client) => {
    next += 1
    return placeOrder(peer, client, publisher, next)
  })
  for (const client of clients) client.release(true)
  await until('all is handled', () => handled.size >= next, { timeoutMs: 60_000 })
  const saturation = (next * 1_000) / (performance.now() - startedAt)
  const sent = new Map<number, number>()
  await pause(500)
  await openLoop({ perSecond: saturation / 2, seconds: bench.quick ? 2 : SECONDS }, async () => {
    const { n, sentAt } = await place()
    sent.set(n, sentAt)
  })
  await until('all is handled', () => [...sent.keys()].every((n) => handled.has(String(n))), { timeoutMs: 60_000 })
  const latencies = [...sent].map(([n, sentAt]) => handled.get(String(n))! - sentAt)
  await publisher.close()
  await bench.end(pool)
  await worker.stop()
  await bench.drop(database)
  return { saturation, latencies }
}

function toldHalf({ saturation, latencies }: Half) {
  const at = (share: number) => rounded(percentile(latencies, share))
  return { perSecond: rounded(saturation / 2), p50: at(0.5), p99: at(0.99) }
}
