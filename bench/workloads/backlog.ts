import type { Bench } from '../stand/bench.ts'
import { draining } from '../stand/draining.ts'
import { filled } from '../stand/filled.ts'
import { OURS, type Peer, type Tuning } from '../stand/peer.ts'
import { able, figureOf, measuredOf, type Rounds, rounds, toldRounds } from '../stand/rounds.ts'
import { median } from '../stand/runs.ts'
import { type Figures, rounded, type Workload } from '../stand/workload.ts'

const EMPTY = 60_000
const SIZES = [10_000, EMPTY, 1_000_000, 5_000_000]
const PEER_SIZES = [10_000, EMPTY, 1_000_000]
const ROUNDS = 3
const DRAIN = { connections: 10, effect: false, atMostMs: 5_000 }
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: false }

/**
 * Consuming with 5,000,000 messages ready, against 60,000, which is as good as none; 10,000 and 1,000,000 beside them. Peers get
 * 1,000,000, or as many as they take in two minutes.
 */
export const backlog: Workload = {
  name: 'backlog',
  goals: [{ name: 'backlog.5M', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.9 } }],
  deadlineMs: 1_500_000,
  long: 'some 15 minutes',
  async run(bench) {
    const { able: peers, unable } = await able(['consume'])
    const all: Record<number, Rounds> = {}
    const short: Record<string, number> = {}
    const sizes = bench.quick ? [10_000, EMPTY, 200_000] : SIZES
    for (const size of sizes) {
      bench.say(`backlog, ${size}`)
      const sides = []
      for (const peer of peers.filter(({ name }) => name === OURS || bench.quick || PEER_SIZES.includes(size))) {
        const { database, messages } = await filledInTime(bench, peer, size)
        if (messages < size) short[peer.name] = messages
        sides.push({
          peer,
          database,
          run: () => draining(bench, peer, TUNING, { backlog: database, messages, ...DRAIN }),
        })
      }
      all[size] = await rounds(bench, bench.quick ? 1 : ROUNDS, sides)
      for (const { database } of sides) await bench.drop(database)
    }
    const most = measuredOf('backlog.5M', all[sizes.at(-1)!]!)
    const at = (size: number, side: string) => median(all[size]!.runs[side] ?? [Number.NaN])
    return {
      measured: [{ ...most, baseline: at(EMPTY, OURS), peers: { ...peerFigures(all, short), ...unable } }],
      report: {
        sizes: Object.fromEntries(Object.entries(all).map(([size, runs]) => [size, toldRounds(runs)])),
        plots: [
          {
            name: 'backlog',
            title: 'Consumed, by how much is waiting',
            kind: 'lines',
            x: 'messages waiting',
            y: 'messages/s',
            logarithmic: true,
            rows: Object.entries(all).flatMap(([size, { runs }]) =>
              Object.entries(runs).map(([side, values]) => ({ side, x: Number(size), y: median(values) })),
            ),
          },
        ],
      },
    }
  },
}

async function filledInTime(bench: Bench, peer: Peer, size: number): Promise<{ database: string; messages: number }> {
  const slow = peer.name === 'bullmq' && size > 100_000
  const messages = slow ? 200_000 : size
  return { database: await filled(bench, peer, TUNING, messages), messages }
}

function peerFigures(all: Readonly<Record<number, Rounds>>, short: Readonly<Record<string, number>>): Figures {
  const most = all[1_000_000] ?? all[200_000]!
  return Object.fromEntries(
    Object.entries(most.runs)
      .filter(([name]) => name !== OURS && name !== 'plain')
      .map(([name, values]) => {
        const ratio = rounded(median(values) / median(all[EMPTY]!.runs[name]!))
        return [name, figureOf(values, { ratio, note: `with ${short[name] ?? 1_000_000} messages` })]
      }),
  )
}
