import type pg from 'pg'
import { routed } from '../stand/backlog.ts'
import { type Bench, release } from '../stand/bench.ts'
import { drain } from '../stand/drain.ts'
import { plain } from '../stand/plain.ts'
import { alternate, median, medians, told } from '../stand/runs.ts'
import { runOn } from '../stand/server.ts'
import { WarmRate } from '../stand/warm-rate.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const MESSAGES = 200_000
const CONNECTIONS = 10
const BATCH = 50
const LIMITS_BATCH = 200
const PAIRS = 3
const PAYLOAD = JSON.stringify({ orderId: '12345', cents: 4_200, country: 'NL' })
const limit = plain('drain-noop')

/**
 * A consumer with the default guarantee, the default batch size and a handler that does nothing, against rows deleted and
 * returned in batches of 200, where `'auto'` arrives as well. Both parse what they get; both hold a transaction around it.
 */
export const drainNoop: Workload = {
  name: 'drain.noop',
  goals: [{ name: 'drain.noop', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.5 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const backlog = await routed(bench, MESSAGES)
    const jobs = await filled(bench)
    const runs = await alternate(PAIRS, {
      ours: () => consuming(bench, backlog, 'auto'),
      baseline: () => deleting(bench, jobs, true),
    })
    const fixed = [await consuming(bench, backlog, BATCH), await consuming(bench, backlog, BATCH)]
    const bare = [await deleting(bench, jobs, false), await deleting(bench, jobs, false)]
    return {
      measured: [{ name: 'drain.noop', ...medians(runs) }],
      report: {
        messages: MESSAGES,
        connections: CONNECTIONS,
        auto: told(runs),
        fixed: { batch: BATCH, runs: fixed.map(rounded), ratio: rounded(median(fixed) / median(runs.baseline)) },
        limitWithoutTransaction: { runs: bare.map(rounded), ratio: rounded(median(runs.ours) / median(bare)) },
      },
    }
  },
}

async function consuming(bench: Bench, backlog: string, batchSize: number | 'auto'): Promise<number> {
  const database = await bench.database(backlog)
  const rate = await drain(bench, database, { messages: MESSAGES, connections: CONNECTIONS, batchSize }, () => {})
  await bench.drop(database)
  return rate
}

async function filled(bench: Bench): Promise<string> {
  const database = await bench.database()
  await runOn(bench.urlOf(database), limit('set_up').text)
  const pool = bench.pool(database, 1)
  await pool.query(limit('fill').text, [MESSAGES, PAYLOAD])
  await bench.end(pool)
  return database
}

async function deleting(bench: Bench, jobs: string, transaction: boolean): Promise<number> {
  const database = await bench.database(jobs)
  const clients = await bench.clients(database, CONNECTIONS)
  const taken = new WarmRate(MESSAGES)
  let rate = Number.NaN
  const onLast = () => {
    rate = taken.perSecond()
  }
  await Promise.all(clients.map((client) => deleteAll(client, transaction, taken, onLast)))
  if (Number.isNaN(rate))
    throw new Error(`Cannot measure the limit of "drain.noop": ${taken.count} of ${MESSAGES} rows`)
  release(clients)
  await bench.drop(database)
  return rate
}

async function deleteAll(client: pg.PoolClient, transaction: boolean, taken: WarmRate, onLast: () => void) {
  for (;;) {
    if (transaction) await client.query('begin')
    const { rows } = await client.query({ ...limit('take'), values: [LIMITS_BATCH] })
    if (transaction) await client.query('commit')
    if (rows.length === 0) return
    if (taken.add(rows.length)) onLast()
  }
}
