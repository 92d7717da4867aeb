import type { Bench } from './bench.ts'
import { draining } from './draining.ts'
import { filled } from './filled.ts'
import type { Peer, Tuning } from './peer.ts'
import { able, type Rounds, rounds } from './rounds.ts'
import { median } from './runs.ts'
import type { Figures, Plot } from './workload.ts'

const MESSAGES = 60_000
const QUICK_MESSAGES = 20_000
const ROUNDS = 3
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: false }

export interface Kind {
  readonly effect: boolean
  readonly batches?: boolean
  readonly connections: number
}

export interface Backlogs {
  readonly peers: readonly Peer[]
  readonly unable: Figures
  readonly of: ReadonlyMap<Peer, string>
}

/** The same backlog for everybody who can consume one. */
export async function backlogs(bench: Bench): Promise<Backlogs> {
  const { able: peers, unable } = await able(['consume'])
  const of = new Map<Peer, string>()
  for (const peer of peers) of.set(peer, await filled(bench, peer, TUNING, sizes(bench).messages))
  return { peers, unable, of }
}

/** Each consumes its backlog, in turn, so often. */
export async function drained(
  bench: Bench,
  { peers, of }: Backlogs,
  kind: Kind,
  count = bench.quick ? 2 : ROUNDS,
): Promise<Rounds> {
  const { messages, atMostMs } = sizes(bench)
  const sides = peers.map((peer) => ({
    peer,
    run: () => draining(bench, peer, TUNING, { backlog: of.get(peer)!, messages, atMostMs, ...kind }),
  }))
  return await rounds(bench, count, sides)
}

export function sizes({ quick }: Bench) {
  return { messages: quick ? QUICK_MESSAGES : MESSAGES, atMostMs: quick ? 2_000 : 6_000 }
}

export function bars(name: string, title: string, { runs }: Rounds): Plot {
  const rows = Object.entries(runs).map(([side, values]) => ({ side, x: side, y: median(values) }))
  return { name, title, kind: 'bars', x: 'side', y: 'messages/s', rows }
}
