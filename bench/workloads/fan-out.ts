import type { Bench } from '../stand/bench.ts'
import { installed, makeReady, publishMany } from '../stand/filled.ts'
import { OURS, type Peer, PLAIN, type Routes, type Tuning } from '../stand/peer.ts'
import { able, figuresOf, type Rounds, rounds, toldRounds } from '../stand/rounds.ts'
import { median } from '../stand/runs.ts'
import { type Figures, rounded, type Workload } from '../stand/workload.ts'

const QUEUES = [1, 3, 10]
const MESSAGES = 20_000
const QUICK_MESSAGES = 3_000
const ROUNDS = 3

/**
 * What a message costs until it is ready in 1, 3 or 10 queues: published 1,000 at once on 2 connections, and routed. Milliseconds
 * for a thousand messages; handling them is the work of so many deliveries, as `drain.*` measures it.
 */
export const fanOut: Workload = {
  name: 'fanout',
  goals: [{ name: 'fanout.10', unit: 'ms per 1,000 messages', measure: { kind: 'at-most-of-baseline', target: 3 } }],
  deadlineMs: 300_000,
  quick: true,
  async run(bench) {
    const { able: peers, unable } = await able(['fan-out'])
    const all: Record<number, Rounds> = {}
    const widths = bench.quick ? [1, 10] : QUEUES
    for (const width of widths) {
      bench.say(`fanout, ${width}`)
      all[width] = await rounds(bench, bench.quick ? 1 : ROUNDS, await sidesOf(bench, peers, width))
    }
    const [one, ten] = [all[1]!, all[10]!]
    const ours = ten.runs[OURS]!
    return {
      measured: [
        {
          name: 'fanout.10',
          ours: median(ours),
          baseline: median(one.runs[OURS]!),
          runs: ours.length,
          spread: [Math.min(...ours), Math.max(...ours)],
          peers: { ...ratios(figuresOf(ten), one), ...without(unable) },
        },
      ],
      report: {
        queues: Object.fromEntries(Object.entries(all).map(([width, runs]) => [width, toldRounds(runs, unable)])),
        plots: [
          {
            name: 'fanout',
            title: 'Until a message is in all its queues',
            kind: 'lines',
            x: 'queues',
            y: 'ms per 1,000 messages',
            rows: Object.entries(all).flatMap(([width, { runs }]) =>
              Object.entries(runs).map(([side, values]) => ({ side, x: Number(width), y: median(values) })),
            ),
          },
        ],
      },
    }
  },
}

async function sidesOf(bench: Bench, peers: readonly Peer[], width: number) {
  const queues = Array.from({ length: width }, (_, i) => `queue-${i + 1}`)
  const routes: Routes = { 'order.placed': queues }
  const tuning: Tuning = { routes, wakeUps: false }
  const sides = []
  for (const peer of peers) {
    const template = await installed(bench, peer, tuning)
    sides.push({ peer, run: () => publishing(bench, peer, tuning, template) })
  }
  return sides
}

async function publishing(bench: Bench, peer: Peer, tuning: Tuning, template: string): Promise<number> {
  const messages = bench.quick ? QUICK_MESSAGES : MESSAGES
  const database = await bench.database(template)
  await publishMany(bench, peer, tuning, database, 'order.placed', 1_000)
  await makeReady(bench, peer, database)
  const startedAt = performance.now()
  await publishMany(bench, peer, tuning, database, 'order.placed', messages)
  await makeReady(bench, peer, database)
  const elapsedMs = performance.now() - startedAt
  await bench.drop(database)
  return (elapsedMs * 1_000) / messages
}

function ratios(figures: Figures, one: Rounds): Figures {
  return Object.fromEntries(
    Object.entries(figures).map(([name, figure]) => [
      name,
      figure.figure === null ? figure : { ...figure, ratio: rounded(figure.figure / median(one.runs[name]!)) },
    ]),
  )
}

function without(unable: Figures): Figures {
  return Object.fromEntries(Object.entries(unable).filter(([name]) => name !== PLAIN))
}
