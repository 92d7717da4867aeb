import { Posthaste, pgDatabase } from '../../src/index.ts'
import { type Bench, release } from '../stand/bench.ts'
import { clock } from '../stand/clock.ts'
import { closedLoop, pause, until } from '../stand/load.ts'
import { openLoop } from '../stand/open-loop.ts'
import { plain } from '../stand/plain.ts'
import { runOn } from '../stand/server.ts'
import { rounded, type Workload } from '../stand/workload.ts'
import { batch, logged, publish, streams } from './ledger.ts'
import { Reader } from './reader.ts'

const KEYS = 100_000
const AT_ONCE = 1_000
const CONNECTIONS = 2
const MOST_MS = 500
const PATIENCE_MS = 10_000
const SHARES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
const limit = plain('publish-bulk')

/**
 * Readings of 100,000 sensors, a thousand in a transaction: two groups read them as they come, a third reads the log again from its start.
 * The highest rate at which 99 of 100 messages are handled within half a second by both, as a share of the same inserts into a plain
 * table without anybody who reads.
 */
export const sensors: Workload = {
  name: 'sensors',
  goals: [{ name: 'sensors', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.4 } }],
  deadlineMs: 240_000,
  async run(bench) {
    const seconds = bench.quick ? 2 : 6
    const inserts = await inserting(bench, bench.quick ? 1_000 : 4_000)
    const log = await logged(bench, bench.quick ? 50_000 : 200_000, { keys: KEYS })
    const steps: { share: number; perSecond: number; p99Ms: number | null; replayed: number }[] = []
    for (const share of SHARES) {
      const perSecond = Math.round(share * inserts)
      const { p99Ms, replayed } = await sensing(bench, log, perSecond, seconds)
      steps.push({ share, perSecond, p99Ms: p99Ms && rounded(p99Ms), replayed })
      bench.say(`    ${JSON.stringify(steps.at(-1))}`)
      if (p99Ms === null || p99Ms >= MOST_MS) break
    }
    const best = steps.filter(({ p99Ms }) => p99Ms !== null && p99Ms < MOST_MS).at(-1)
    return {
      measured: [{ name: 'sensors', ours: best?.perSecond ?? 0, baseline: inserts, runs: steps.length }],
      report: { keys: KEYS, seconds, plainInserts: rounded(inserts), steps },
    }
  },
}

/** Plain bulk insert, messages a second. */
async function inserting(bench: Bench, measureMs: number): Promise<number> {
  const database = await bench.database()
  await runOn(bench.urlOf(database), plain('publish-tx')('set_up').text)
  const clients = await bench.clients(database, CONNECTIONS)
  const rate = await closedLoop(clients, { warmUpMs: 1_000, measureMs }, async (client) => {
    const rows = batch(0, AT_ONCE, KEYS).map(({ id, type, payload }) => ({ id, type, payload }))
    await client.query('begin')
    await client.query({ ...limit('insert_messages'), values: [JSON.stringify(rows)] })
    await client.query('commit')
  })
  release(clients)
  await bench.drop(database)
  return rate * AT_ONCE
}

async function sensing(bench: Bench, log: string, perSecond: number, seconds: number) {
  const database = await bench.database(log)
  const url = bench.urlOf(database)
  const pool = bench.pool(database, CONNECTIONS)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology: streams })
  const live = ['live-1', 'live-2']
  await using reader = await Reader.start({ url, groups: live, relay: true, live, from: 'latest' })
  await publish(pool, posthaste, batch(0, AT_ONCE, KEYS, clock()))
  const awake = async () => Object.values((await reader.usage()).handled).every((handled) => handled >= AT_ONCE)
  await until('both groups read', awake, { everyMs: 50 })
  await using third = await Reader.start({ url, groups: ['replaying'] })
  await openLoop({ perSecond: perSecond / AT_ONCE, seconds }, (n) =>
    publish(pool, posthaste, batch(n * AT_ONCE, AT_ONCE, KEYS, clock())),
  )
  const expected = Math.round((perSecond / AT_ONCE) * seconds) * AT_ONCE * live.length
  const over = performance.now() + PATIENCE_MS
  let usage = await reader.usage()
  while (usage.measured < expected && performance.now() < over) {
    await pause(100)
    usage = await reader.usage()
  }
  const replayed = (await third.usage()).handled.replaying!
  await bench.end(pool)
  // what has not come by now is not told by a percentile
  return { p99Ms: usage.measured < expected ? null : usage.p99Ms, replayed }
}
