import type pg from 'pg'
import { routed } from '../stand/backlog.ts'
import type { Bench } from '../stand/bench.ts'
import { drain } from '../stand/drain.ts'
import { plain } from '../stand/plain.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import type { Workload } from '../stand/workload.ts'

const ROWS = 200
const MESSAGES = 6_000
const CONNECTIONS = 10
const PAIRS = 3
const effect = plain('hot-rows')

/** A handler that updates one of 200 rows, the message's key, on 10 connections: the default `'auto'` against batches of one. */
export const hotRows: Workload = {
  name: 'hot.rows',
  goals: [{ name: 'hot.rows', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 1 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const backlog = await routed(bench, MESSAGES, () => String(1 + Math.floor(Math.random() * ROWS)))
    const pool = bench.pool(backlog, 1)
    await pool.query(effect('set_up').text)
    await pool.query(effect('fill').text, [ROWS])
    await bench.end(pool)
    const runs = await alternate(PAIRS, {
      ours: () => updating(bench, backlog, 'auto'),
      baseline: () => updating(bench, backlog, 1),
    })
    return {
      measured: [{ name: 'hot.rows', ...medians(runs) }],
      report: { rows: ROWS, messages: MESSAGES, connections: CONNECTIONS, runs: told(runs) },
    }
  },
}

async function updating(bench: Bench, backlog: string, batchSize: number | 'auto'): Promise<number> {
  const database = await bench.database(backlog)
  const options = { messages: MESSAGES, connections: CONNECTIONS, batchSize }
  const rate = await drain(bench, database, options, async ({ payload }, { tx }) => {
    await tx.query({ ...effect('update'), values: [payload.orderId] })
  })
  await everyEffectOnce(bench.pool(database, 1))
  await bench.drop(database)
  return rate
}

async function everyEffectOnce(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query('select sum(messages)::integer as effects from bench_accounts')
  await pool.end()
  if (rows[0].effects !== MESSAGES)
    throw new Error(`Cannot trust a run: ${rows[0].effects} effects of ${MESSAGES} messages`)
}
