import type { Bench } from '../stand/bench.ts'
import { installed } from '../stand/filled.ts'
import { until } from '../stand/load.ts'
import { openLoop, type Sent } from '../stand/open-loop.ts'
import { OURS, type Peer, type Tuning, type WorkOptions } from '../stand/peer.ts'
import { DUAL_WRITE, placeOrder } from '../stand/publishing.ts'
import { able } from '../stand/rounds.ts'
import { percentile } from '../stand/runs.ts'
import { type Figure, rounded, type Workload } from '../stand/workload.ts'

const BASE = 100
const TIMES = 10
const BEFORE_SECONDS = 20
const SPIKE_SECONDS = 60
const PEER_SPIKE_SECONDS = 30
const QUICK_SECONDS = 5
const CONNECTIONS = 16
const WARM_UP_SECONDS = 3
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: true }
const WORK: WorkOptions = { ...TUNING, queues: ['billing'], connections: 10, effects: true }

interface Spike {
  readonly before: number
  readonly during: number
  readonly drainedMs: number
  readonly everySecond: readonly { readonly second: number; readonly p99: number }[]
}

/**
 * 100 orders a second, then ten times as many for a minute, at a steady rate on 16 connections, beside a consumer in another
 * process with one insert as effect: how long a producer's transaction takes, from the moment it was due.
 */
export const spike: Workload = {
  name: 'spike',
  goals: [{ name: 'spike.producer.p99', unit: 'ms', measure: { kind: 'at-most-of-baseline', target: 1.2 } }],
  deadlineMs: 480_000,
  async run(bench) {
    const { able: peers, unable } = await able(['wake-up'])
    const spikes: Record<string, Spike> = {}
    for (const peer of peers) {
      const seconds = peer.name === OURS ? SPIKE_SECONDS : PEER_SPIKE_SECONDS
      spikes[peer.name] = await spiking(bench, peer, bench.quick ? QUICK_SECONDS : seconds)
      const { before, during, drainedMs } = spikes[peer.name]!
      bench.say(
        `  ${peer.name}: p99 ${rounded(before)} then ${rounded(during)} ms, drained in ${rounded(drainedMs)} ms`,
      )
    }
    const { before, during } = spikes[OURS]!
    const figure = (peer: Peer): Figure => {
      const { before, during } = spikes[peer.name]!
      const note = peer.cannot['publish-in-transaction'] ? { note: DUAL_WRITE } : {}
      return { figure: rounded(during), ratio: rounded(during / before), ...note }
    }
    const others = peers.filter(({ name }) => name !== OURS)
    return {
      measured: [
        {
          name: 'spike.producer.p99',
          ours: during,
          baseline: before,
          runs: 1,
          peers: { ...Object.fromEntries(others.map((peer) => [peer.name, figure(peer)])), ...unable },
        },
      ],
      report: {
        perSecond: { before: BASE, spike: BASE * TIMES },
        seconds: { ours: SPIKE_SECONDS, peers: PEER_SPIKE_SECONDS },
        sides: Object.fromEntries(
          Object.entries(spikes).map(([name, { before, during, drainedMs }]) => [
            name,
            { before: rounded(before), during: rounded(during), drainedMs: rounded(drainedMs) },
          ]),
        ),
        plots: [
          {
            name: 'spike',
            title: `Ten times the orders from second ${BEFORE_SECONDS} on: the producers' p99`,
            kind: 'lines',
            x: 'second',
            y: 'ms',
            rows: Object.entries(spikes).flatMap(([side, { everySecond }]) =>
              everySecond.map(({ second, p99 }) => ({ side, x: second, y: p99 })),
            ),
          },
        ],
      },
    }
  },
}

async function spiking(bench: Bench, peer: Peer, seconds: number): Promise<Spike> {
  const database = await installed(bench, peer, TUNING)
  const worker = await bench.worker(database, peer, WORK)
  const publisher = await peer.publisher(bench.urlOf(database), TUNING)
  const pool = bench.pool(database, CONNECTIONS)
  let placed = 0
  const place = async () => {
    const client = await pool.connect()
    await placeOrder(peer, client, publisher, placed)
    placed += 1
    client.release()
  }
  await openLoop({ perSecond: BASE * TIMES, seconds: WARM_UP_SECONDS }, place)
  await handledAll()
  const before = await openLoop({ perSecond: BASE, seconds: bench.quick ? QUICK_SECONDS : BEFORE_SECONDS }, place)
  const during = await openLoop({ perSecond: BASE * TIMES, seconds }, place)
  const endedAt = performance.now()
  await handledAll()
  const drainedMs = performance.now() - endedAt
  await publisher.close()
  await bench.end(pool)
  await worker.stop()
  await bench.drop(database)
  const shifted = during.map(({ at, tookMs }) => ({ at: at + BEFORE_SECONDS * 1_000, tookMs }))
  return { before: p99(before), during: p99(during), drainedMs, everySecond: bySecond([...before, ...shifted]) }

  async function handledAll() {
    await until('all is handled', async () => (await worker.usage()).handled >= placed, {
      timeoutMs: 120_000,
      everyMs: 20,
    })
  }
}

function p99(sent: readonly Sent[]): number {
  return percentile(
    sent.map(({ tookMs }) => tookMs),
    0.99,
  )
}

function bySecond(sent: readonly Sent[]) {
  const seconds = Map.groupBy(sent, ({ at }) => Math.floor(at / 1_000))
  return [...seconds]
    .map(([second, those]) => ({ second, p99: rounded(p99(those)) }))
    .toSorted((a, b) => a.second - b.second)
}
