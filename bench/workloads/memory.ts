import type { Bench } from '../stand/bench.ts'
import { installed, orders } from '../stand/filled.ts'
import { pause } from '../stand/load.ts'
import { OURS, type Peer, type Tuning, type WorkOptions } from '../stand/peer.ts'
import { able } from '../stand/rounds.ts'
import { median } from '../stand/runs.ts'
import type { Worker } from '../stand/worker.ts'
import { type Figure, rounded, type Workload } from '../stand/workload.ts'

const MESSAGES = 1_000_000
const PEER_MESSAGES = 200_000
const QUICK_MESSAGES = 50_000
const PEER_MS = 30_000
const AT_ONCE = 1_000
const OUTSTANDING = 30_000
const EVERY_MS = 250
const TENTHS = 10
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: true }
const WORK: WorkOptions = { ...TUNING, queues: ['billing'], connections: 10, effects: false }

interface Sample {
  readonly handled: number
  readonly rssMb: number
}

/**
 * The resident memory of a process that routes and consumes a million messages, published as fast as it takes them: the difference
 * between the highest and the lowest tenth (medians) after the first. Peers get 30 seconds, or 200,000 messages.
 */
export const memory: Workload = {
  name: 'memory',
  goals: [{ name: 'memory', unit: 'MB', measure: { kind: 'at-most', target: 50 } }],
  deadlineMs: 480_000,
  async run(bench) {
    const { able: peers, unable } = await able(['wake-up'])
    const samples: Record<string, Sample[]> = {}
    for (const peer of peers) {
      const ours = peer.name === OURS
      samples[peer.name] = await sampling(bench, peer, ...limits(bench, ours))
      bench.say(`  ${peer.name}: ${JSON.stringify(tenths(samples[peer.name]!))}`)
    }
    const figure = (name: string): Figure => ({
      figure: rounded(growth(samples[name]!)),
      note: `over ${samples[name]!.at(-1)!.handled} messages`,
    })
    const others = peers.filter(({ name }) => name !== OURS)
    return {
      measured: [
        {
          name: 'memory',
          ours: growth(samples[OURS]!),
          baseline: null,
          runs: 1,
          peers: { ...Object.fromEntries(others.map(({ name }) => [name, figure(name)])), ...unable },
        },
      ],
      report: {
        messages: MESSAGES,
        tenths: Object.fromEntries(Object.entries(samples).map(([name, those]) => [name, tenths(those)])),
        plots: [
          {
            name: 'memory',
            title: 'Resident memory of the process that consumes',
            kind: 'lines',
            x: 'messages',
            y: 'MB',
            rows: Object.entries(samples).flatMap(([side, those]) =>
              those.map(({ handled, rssMb }) => ({ side, x: handled, y: Math.round(rssMb) })),
            ),
          },
        ],
      },
    }
  },
}

function limits({ quick }: Bench, ours: boolean): [messages: number, atMostMs: number] {
  if (quick) return [QUICK_MESSAGES, PEER_MS / 3]
  return ours ? [MESSAGES, Number.POSITIVE_INFINITY] : [PEER_MESSAGES, PEER_MS]
}

async function sampling(bench: Bench, peer: Peer, messages: number, atMostMs: number): Promise<Sample[]> {
  const database = await installed(bench, peer, TUNING)
  const worker = await bench.worker(database, peer, WORK)
  const over = performance.now() + atMostMs
  const state = { handled: 0, over: false }
  const publishing = publish(bench, peer, database, messages, state)
  const samples: Sample[] = []
  let last = 0
  let lastAt = performance.now()
  while (state.handled < messages && performance.now() < over) {
    await pause(EVERY_MS)
    samples.push(await sample(worker))
    state.handled = samples.at(-1)!.handled
    if (state.handled > last) lastAt = performance.now()
    last = state.handled
    if (performance.now() - lastAt > 30_000) throw new Error(`Cannot go on: nothing for 30 s after ${last} messages`)
  }
  state.over = true
  await publishing
  await worker.stop()
  await bench.drop(database)
  return samples
}

async function sample(worker: Worker): Promise<Sample> {
  const { handled, rssMb } = await worker.usage()
  return { handled, rssMb }
}

async function publish(
  bench: Bench,
  peer: Peer,
  database: string,
  messages: number,
  state: { readonly handled: number; readonly over: boolean },
): Promise<void> {
  const publisher = await peer.publisher(bench.urlOf(database), TUNING)
  const [client] = await bench.clients(database, 1)
  for (let from = 0; from < messages && !state.over; from += AT_ONCE) {
    while (from - state.handled > OUTSTANDING && !state.over) await pause(EVERY_MS / 10)
    await client!.query('begin')
    await publisher.publishAll(client!, 'order.placed', orders(from, from + AT_ONCE))
    await client!.query('commit')
  }
  client!.release(true)
  await publisher.close()
}

function tenths(samples: readonly Sample[]): number[] {
  const most = samples.at(-1)!.handled
  const groups = Map.groupBy(samples, ({ handled }) => Math.min(TENTHS - 1, Math.floor((handled / most) * TENTHS)))
  return [...groups.keys()]
    .toSorted((a, b) => a - b)
    .map((tenth) => Math.round(median(groups.get(tenth)!.map(({ rssMb }) => rssMb))))
}

function growth(samples: readonly Sample[]): number {
  const [, ...rest] = tenths(samples)
  return Math.max(...rest) - Math.min(...rest)
}
