import { randomUUID } from 'node:crypto'
import { type Bench, release } from '../stand/bench.ts'
import { installed } from '../stand/filled.ts'
import { closedLoop } from '../stand/load.ts'
import { OURS, type Peer, type Tuning } from '../stand/peer.ts'
import { able, figureOf } from '../stand/rounds.ts'
import { median } from '../stand/runs.ts'
import { type Figure, rounded, type Workload } from '../stand/workload.ts'

const PRODUCERS = 256
const ROUNDS = 3
const ROUTES = { 'order.placed': ['billing'] }

interface Pair {
  readonly on: number[]
  readonly off: number[]
}

/**
 * BEGIN; publish; COMMIT on 256 connections beside a consumer in a process of its own: with publishers that wake it, and with
 * publishers that do not (it looks by itself).
 */
export const producers256: Workload = {
  name: 'producers.256',
  goals: [{ name: 'producers.256', unit: 'transactions/s', measure: { kind: 'share-of-baseline', target: 0.8 } }],
  deadlineMs: 300_000,
  quick: true,
  async run(bench) {
    const { able: peers, unable } = await able(['publish-in-transaction', 'wake-up'])
    const pairs: Record<string, Pair> = {}
    for (let round = 0; round < (bench.quick ? 1 : ROUNDS); round += 1)
      for (const peer of peers) {
        const pair = pairs[peer.name] ?? { on: [], off: [] }
        pairs[peer.name] = pair
        pair.on.push(await publishing(bench, peer, true))
        if (!peer.cannot.silent) pair.off.push(await publishing(bench, peer, false))
        bench.say(`  ${peer.name}: ${rounded(pair.on.at(-1)!)} on, ${rounded(pair.off.at(-1) ?? 0)} off`)
      }
    const { on, off } = pairs[OURS]!
    return {
      measured: [
        {
          name: 'producers.256',
          ours: median(on),
          baseline: median(off),
          runs: on.length,
          spread: [Math.min(...on), Math.max(...on)],
          peers: {
            ...Object.fromEntries(
              peers.filter(({ name }) => name !== OURS).map((peer) => [peer.name, figure(peer, pairs[peer.name]!)]),
            ),
            ...unable,
          },
        },
      ],
      report: {
        producers: PRODUCERS,
        plots: [
          {
            name: 'producers-256',
            title: '256 publishers, wake-ups on and off',
            kind: 'bars',
            x: 'wake-ups',
            y: 'transactions/s',
            rows: Object.entries(pairs).flatMap(([side, pair]) => [
              { side, x: 'on', y: median(pair.on) },
              { side, x: 'off', y: pair.off.length > 0 ? median(pair.off) : null },
            ]),
          },
        ],
      },
    }
  },
}

function figure({ cannot }: Peer, { on, off }: Pair): Figure {
  if (off.length === 0) return figureOf(on, { note: `no ratio: ${cannot.silent}` })
  return figureOf(on, { ratio: rounded(median(on) / median(off)) })
}

async function publishing(bench: Bench, peer: Peer, wakeUps: boolean): Promise<number> {
  const tuning: Tuning = { routes: ROUTES, wakeUps, silent: !wakeUps }
  const database = await installed(bench, peer, tuning)
  const worker = await bench.worker(database, peer, { ...tuning, queues: ['billing'], connections: 10, effects: false })
  const clients = await bench.clients(database, PRODUCERS)
  const publisher = await peer.publisher(bench.urlOf(database), tuning)
  const load = bench.quick ? { warmUpMs: 500, measureMs: 1_000 } : { warmUpMs: 1_000, measureMs: 3_000 }
  const rate = await closedLoop(clients, load, async (client) => {
    await client.query('begin')
    await publisher.publish(client, 'order.placed', { orderId: randomUUID(), cents: 4_200, country: 'NL' })
    await client.query('commit')
  })
  release(clients)
  await publisher.close()
  await worker.stop()
  await bench.drop(database)
  return rate
}
