import type { Bench } from '../stand/bench.ts'
import { installed, orders } from '../stand/filled.ts'
import { pause } from '../stand/load.ts'
import { OURS, type Peer, type Tuning, type WorkOptions } from '../stand/peer.ts'
import { able } from '../stand/rounds.ts'
import { runOn } from '../stand/server.ts'
import type { Worker } from '../stand/worker.ts'
import { type Figure, rounded, type Workload } from '../stand/workload.ts'

const MINUTES = 10
const PEER_MINUTES = 4
const MINUTE_MS = 60_000
const QUICK_MS = 5_000
const AT_ONCE = 500
const DELAYED = 50
const DELAY_MS = 1_000
const REFUSE_ONE_IN = 10
const OUTSTANDING = 5_000
const WARM_UP_MS = 5_000
const ROUTES = { 'order.placed': ['billing'] }
const TUNING: Tuning = { routes: ROUTES, wakeUps: true, stream: true }
const WORK: WorkOptions = { ...TUNING, queues: ['billing'], connections: 10, effects: false, failures: true }

interface Held {
  readonly perSecond: readonly number[]
  readonly deadRows: number
}

/**
 * Published and consumed as fast as it goes while one REPEATABLE READ snapshot stays open, so that no vacuum removes anything: one
 * message in ten is refused at its first attempt and comes again, one in ten is delayed; a stream of ours
 * reads all of them as well. Messages a second, minute by minute; the
 * last against the first.
 */
export const held: Workload = {
  name: 'held',
  goals: [{ name: 'held.10min', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.9 } }],
  deadlineMs: 2_400_000,
  long: 'some 25 minutes',
  async run(bench) {
    const { able: peers, unable } = await able(['delay', 'retry'])
    const all: Record<string, Held> = {}
    for (const peer of peers) {
      all[peer.name] = await holding(bench, peer, bench.quick ? 2 : peer.name === OURS ? MINUTES : PEER_MINUTES)
      bench.say(`  ${peer.name}: ${JSON.stringify(all[peer.name])}`)
    }
    const { perSecond } = all[OURS]!
    const others = peers.filter(({ name }) => name !== OURS)
    return {
      measured: [
        {
          name: 'held.10min',
          ours: perSecond.at(-1)!,
          baseline: perSecond[0]!,
          runs: 1,
          peers: { ...Object.fromEntries(others.map(({ name }) => [name, figureOfPeer(all[name]!)])), ...unable },
        },
      ],
      report: {
        minutes: all,
        mix: {
          refusedOnce: `1 in ${REFUSE_ONE_IN}`,
          delayed: `${DELAYED} in ${AT_ONCE}`,
          delayMs: DELAY_MS,
          stream: 'ours alone',
        },
        plots: [
          {
            name: 'held',
            title: 'While a snapshot stays open',
            kind: 'lines',
            x: 'minute',
            y: 'messages/s',
            rows: Object.entries(all).flatMap(([side, one]) => one.perSecond.map((y, i) => ({ side, x: i + 1, y }))),
          },
        ],
      },
    }
  },
}

function figureOfPeer({ perSecond }: Held): Figure {
  const [first, last] = [perSecond[0]!, perSecond.at(-1)!]
  return { figure: last, ratio: rounded(last / first), note: `in minute ${perSecond.length}, ${first} in the first` }
}

async function holding(bench: Bench, peer: Peer, minutes: number): Promise<Held> {
  const database = await installed(bench, peer, TUNING)
  const worker = await bench.worker(database, peer, WORK, { refuseOneIn: REFUSE_ONE_IN })
  const [reader] = await bench.clients(database, 1)
  await reader!.query('begin isolation level repeatable read')
  await reader!.query('select count(*) from bench_orders')
  const state = { handled: 0, over: false }
  const publishing = publish(bench, peer, database, state)
  publishing.catch(() => {})
  await watched(worker, state, WARM_UP_MS)
  const perSecond: number[] = []
  for (let minute = 0; minute < minutes; minute += 1) {
    const before = state.handled
    const seconds = await watched(worker, state, bench.quick ? QUICK_MS : MINUTE_MS)
    perSecond.push(rounded((state.handled - before) / seconds))
    bench.say(`    ${peer.name}, minute ${minute + 1}: ${perSecond.at(-1)} messages/s`)
  }
  state.over = true
  await publishing
  const deadRows = await deadOf(bench, database)
  await reader!.query('commit')
  reader!.release(true)
  await worker.stop()
  await bench.drop(database)
  return { perSecond, deadRows }
}

async function watched(worker: Worker, state: { handled: number }, ms: number): Promise<number> {
  const startedAt = performance.now()
  while (performance.now() - startedAt < ms) {
    state.handled = (await worker.usage()).handled
    await pause(20)
  }
  return (performance.now() - startedAt) / 1_000
}

async function publish(
  bench: Bench,
  peer: Peer,
  database: string,
  state: { readonly handled: number; readonly over: boolean },
): Promise<void> {
  const publisher = await peer.publisher(bench.urlOf(database), TUNING)
  const [client] = await bench.clients(database, 1)
  for (let from = 0; !state.over; from += AT_ONCE) {
    while (from - state.handled > OUTSTANDING && !state.over) await pause(5)
    const some = orders(from, from + AT_ONCE)
    await client!.query('begin')
    await publisher.publishAll(client!, 'order.placed', some.slice(DELAYED))
    for (const order of some.slice(0, DELAYED))
      await publisher.publish(client!, 'order.placed', order, { delayMs: DELAY_MS })
    await client!.query('commit')
  }
  client!.release(true)
  await publisher.close()
}

async function deadOf(bench: Bench, database: string): Promise<number> {
  const { rows } = await runOn(
    bench.urlOf(database),
    'select coalesce(sum(n_dead_tup), 0)::float8 as dead from pg_stat_user_tables',
  )
  return rows[0].dead
}
