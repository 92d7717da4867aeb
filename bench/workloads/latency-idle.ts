import type pg from 'pg'
import type { Bench } from '../stand/bench.ts'
import { clock } from '../stand/clock.ts'
import { installed, orderOf } from '../stand/filled.ts'
import { pause, until } from '../stand/load.ts'
import { OURS, type Peer, type Publisher, type Tuning, type WorkOptions } from '../stand/peer.ts'
import { able, figureOf } from '../stand/rounds.ts'
import { percentile } from '../stand/runs.ts'
import { type Figures, rounded, type Workload } from '../stand/workload.ts'

const ROUNDS = 3
const SAMPLES = 200
const QUICK_SAMPLES = 50
const WARM_UP = 20
const PAUSE_MS = { least: 10, most: 60 }
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: true }
const WORK: WorkOptions = { ...TUNING, queues: ['billing'], connections: 10, effects: false }

/**
 * One message at a time, with pauses in which all fall asleep: from the moment COMMIT is sent to the first line of the handler,
 * which runs in another process. Peers that cannot publish in a transaction are timed from the moment they are called.
 */
export const latencyIdle: Workload = {
  name: 'latency.idle',
  goals: [
    { name: 'latency.idle.p50', unit: 'ms', measure: { kind: 'at-most-of-best-peer', target: 1.2 } },
    { name: 'latency.idle.p99', unit: 'ms', measure: { kind: 'at-most-of-best-peer', target: 1 } },
  ],
  deadlineMs: 420_000,
  quick: true,
  async run(bench) {
    const { able: peers, unable } = await able(['wake-up'])
    const stands = []
    for (const peer of peers) stands.push({ peer, template: await installed(bench, peer, TUNING) })
    const samples: Record<string, number[][]> = {}
    for (let round = 0; round < (bench.quick ? 1 : ROUNDS); round += 1)
      for (const { peer, template } of stands) {
        const sampled = await sampling(bench, peer, template, bench.quick ? QUICK_SAMPLES : SAMPLES)
        samples[peer.name] = [...(samples[peer.name] ?? []), sampled]
        bench.say(`  ${peer.name}: ${JSON.stringify(spread(sampled))}`)
      }
    const measured = (share: number) => {
      const ours = samples[OURS]!.map((run) => percentile(run, share))
      return {
        ours: percentile(samples[OURS]!.flat(), share),
        baseline: null,
        runs: ours.length,
        spread: [Math.min(...ours), Math.max(...ours)] as const,
        peers: { ...figures(samples, share), ...unable },
      }
    }
    return {
      measured: [
        { name: 'latency.idle.p50', ...measured(0.5) },
        { name: 'latency.idle.p99', ...measured(0.99) },
      ],
      report: {
        since: 'COMMIT was sent',
        sides: Object.fromEntries(Object.entries(samples).map(([name, runs]) => [name, runs.map(spread)])),
        plots: [
          {
            name: 'latency-idle',
            title: 'From COMMIT to the handler, idle',
            kind: 'bars',
            x: 'percentile',
            y: 'ms',
            rows: [0.5, 0.9, 0.99].flatMap((share) =>
              Object.entries(samples).map(([side, runs]) => ({
                side,
                x: `p${share * 100}`,
                y: percentile(runs.flat(), share),
              })),
            ),
          },
        ],
      },
    }
  },
}

async function sampling(bench: Bench, peer: Peer, template: string, count: number): Promise<number[]> {
  const database = await bench.database(template)
  const worker = await bench.worker(database, peer, WORK, { tell: true })
  const handled = new Map<string, number>()
  worker.onHandled((orderId, at) => handled.set(orderId, at))
  const publisher = await peer.publisher(bench.urlOf(database), TUNING)
  const [client] = await bench.clients(database, 1)
  const samples: number[] = []
  for (let i = 0; i < WARM_UP + count; i += 1) {
    await pause(PAUSE_MS.least + Math.random() * (PAUSE_MS.most - PAUSE_MS.least))
    const sentAt = await publish(peer, client!, publisher, i)
    await until('the message is handled', () => handled.has(String(i)), { timeoutMs: 10_000, everyMs: 2 })
    if (i >= WARM_UP) samples.push(handled.get(String(i))! - sentAt)
  }
  client!.release(true)
  await publisher.close()
  await worker.stop()
  await bench.drop(database)
  return samples
}

/** When its commit was asked for. */
async function publish(peer: Peer, client: pg.PoolClient, publisher: Publisher, n: number): Promise<number> {
  if (peer.cannot['publish-in-transaction']) {
    const calledAt = clock()
    await publisher.publish(client, 'order.placed', orderOf(n))
    return calledAt
  }
  await client.query('begin')
  await publisher.publish(client, 'order.placed', orderOf(n))
  const sentAt = clock()
  await client.query('commit')
  return sentAt
}

function figures(samples: Readonly<Record<string, number[][]>>, share: number): Figures {
  return Object.fromEntries(
    Object.entries(samples)
      .filter(([name]) => name !== OURS)
      .map(([name, runs]) => [
        name,
        {
          ...figureOf(runs.map((run) => percentile(run, share))),
          figure: rounded(percentile(runs.flat(), share)),
          ...(name === 'bullmq' && { note: 'from the call of add: it has no transaction to commit' }),
        },
      ]),
  )
}

function spread(values: readonly number[]) {
  const at = (share: number) => rounded(percentile(values, share))
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
}
