import type pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import type { Bench } from '../stand/bench.ts'
import { clock } from '../stand/clock.ts'
import { pause, until } from '../stand/load.ts'
import { percentile } from '../stand/runs.ts'
import { OrderPlaced, topology } from '../stand/shop.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const RUNS = 2
const SAMPLES = 260
const WARM_UP = 20
const PAUSE_MS = { least: 20, most: 100 }

interface Sample {
  /** From the moment COMMIT was sent. */
  readonly sinceSent: number
  /** From the moment COMMIT was answered. */
  readonly sinceAnswered: number
}

/**
 * One message at a time with pauses in which the relay falls asleep; publisher, relay and consumer are three processes. From
 * the moment COMMIT is sent to the first line of the handler, so the flush of the log is in it.
 */
export const latencyIdle: Workload = {
  name: 'latency.idle',
  goals: [
    { name: 'latency.idle.p50', unit: 'ms', measure: { kind: 'at-most', target: 3 } },
    { name: 'latency.idle.p99', unit: 'ms', measure: { kind: 'at-most', target: 10 } },
  ],
  deadlineMs: 120_000,
  async run(bench) {
    const runs: Sample[][] = []
    for (let i = 0; i < RUNS; i += 1) runs.push(await sampling(bench))
    const sent = runs.flat().map(({ sinceSent }) => sinceSent)
    const answered = runs.flat().map(({ sinceAnswered }) => sinceAnswered)
    const one = (share: number) => ({ ours: percentile(sent, share), baseline: null, runs: RUNS })
    return {
      measured: [
        { name: 'latency.idle.p50', ...one(0.5) },
        { name: 'latency.idle.p99', ...one(0.99) },
      ],
      report: { samples: sent.length, sinceCommitSent: spread(sent), sinceCommitAnswered: spread(answered) },
    }
  },
}

async function sampling(bench: Bench): Promise<Sample[]> {
  const database = await bench.database()
  const consumer = await bench.process(database, { relay: false, consume: 'billing', tell: true })
  const relay = await bench.process(database, { relay: true, consume: 'nothing' })
  const handled = new Map<string, number>()
  consumer.listen((word) => word.word === 'handled' && handled.set(word.id, word.at))

  const pool = bench.pool(database, 1)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
  const client = await pool.connect()
  const samples: Sample[] = []
  for (let i = 0; i < WARM_UP + SAMPLES; i += 1) {
    await pause(PAUSE_MS.least + Math.random() * (PAUSE_MS.most - PAUSE_MS.least))
    const { id, sentAt, answeredAt } = await publish(client, posthaste)
    await until('the message is handled', () => handled.has(id), { timeoutMs: 5_000, everyMs: 2 })
    const at = handled.get(id)!
    if (i >= WARM_UP) samples.push({ sinceSent: at - sentAt, sinceAnswered: at - answeredAt })
  }
  client.release()
  await Promise.all([bench.end(pool), relay.stop(), consumer.stop()])
  return samples
}

async function publish(client: pg.PoolClient, posthaste: Posthaste<pg.PoolClient>) {
  await client.query('begin')
  const { id } = await posthaste.publish(client, OrderPlaced.create({ orderId: '1', cents: 4_200, country: 'NL' }))
  const sentAt = clock()
  await client.query('commit')
  return { id, sentAt, answeredAt: clock() }
}

function spread(values: readonly number[]) {
  const at = (share: number) => rounded(percentile(values, share))
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
}
