import type pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { type Bench, release } from '../stand/bench.ts'
import { closedLoop, until } from '../stand/load.ts'
import { median, percentile } from '../stand/runs.ts'
import { rounded, type Workload } from '../stand/workload.ts'
import { batch, declared, streams } from './ledger.ts'
import { Reader, TEN } from './reader.ts'

const CONNECTIONS = 4
const PAIRS = { whole: 10, quick: 1 }
const LOAD = { warmUpMs: 500, measureMs: 2_000 }

/**
 * A message in each transaction, over 4 connections, while ten groups read them in another process, and while that has none. On one
 * database, in short windows by turns (A B, B A, …): what the disk and the machine do meanwhile meets both, and the ratio is the
 * median of those of the pairs. A window begins when the groups have read what was there.
 */
export const streamPublish: Workload = {
  name: 'stream.publish.10',
  goals: [{ name: 'stream.publish.10', unit: 'transactions/s', measure: { kind: 'share-of-baseline', target: 0.97 } }],
  deadlineMs: 180_000,
  async run(bench) {
    const database = await declared(bench)
    const pairs: { readonly ten: number; readonly none: number }[] = []
    let published = 0
    const window = async (groups: readonly string[]) => {
      const { perSecond, count } = await publishing(bench, database, groups, published)
      published += count
      return perSecond
    }
    // the first finds cold caches
    await window([])
    for (let n = 0; n < (bench.quick ? PAIRS.quick : PAIRS.whole); n += 1) {
      const first = await window(n % 2 === 0 ? TEN : [])
      const second = await window(n % 2 === 0 ? [] : TEN)
      pairs.push(n % 2 === 0 ? { ten: first, none: second } : { ten: second, none: first })
    }
    const baseline = median(pairs.map(({ none }) => none))
    const ratios = pairs.map(({ ten, none }) => ten / none)
    return {
      measured: [{ name: 'stream.publish.10', ours: median(ratios) * baseline, baseline, runs: pairs.length }],
      report: {
        connections: CONNECTIONS,
        groups: TEN.length,
        ratio: rounded(median(ratios)),
        quartiles: [rounded(percentile(ratios, 0.25)), rounded(percentile(ratios, 0.75))],
        runs: pairs.map(({ ten, none }) => [rounded(ten), rounded(none)]),
      },
    }
  },
}

async function publishing(bench: Bench, database: string, groups: readonly string[], published: number) {
  const clients = await bench.clients(database, CONNECTIONS)
  const pool = bench.pool(database, 1)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology: streams })
  await using _reader = await Reader.start({ url: bench.urlOf(database), groups, relay: true, concurrency: 1 })
  if (groups.length > 0)
    await until('the groups have read what there is', async () => (await lag(pool)) === 0, { everyMs: 100 })
  let count = 0
  const perSecond = await closedLoop(clients, LOAD, async (client) => {
    count += 1
    await client.query('begin')
    await posthaste.publish(client, batch(published + count, 1, 10_000))
    await client.query('commit')
  })
  release(clients)
  await bench.end(pool)
  return { perSecond, count }
}

async function lag(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query('select max(lag)::integer as lag from posthaste.group_status(null, null, 100)')
  return rows[0].lag
}
