import { Posthaste, pgDatabase } from '../../src/index.ts'
import { type Bench, release } from '../stand/bench.ts'
import { closedLoop } from '../stand/load.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import type { Workload } from '../stand/workload.ts'
import { batch, declared, streams } from './ledger.ts'
import { Reader, TEN } from './reader.ts'

const CONNECTIONS = 4
const LOAD = { warmUpMs: 2_000, measureMs: 6_000 }
const SHORT = { warmUpMs: 500, measureMs: 1_500 }

/** A message in each transaction, over 4 connections, while ten groups read them in another process, and while that has none. */
export const streamPublish: Workload = {
  name: 'stream.publish.10',
  goals: [{ name: 'stream.publish.10', unit: 'transactions/s', measure: { kind: 'share-of-baseline', target: 0.97 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const runs = await alternate(bench.quick ? 1 : 3, {
      ours: () => publishing(bench, TEN),
      baseline: () => publishing(bench, []),
    })
    return {
      measured: [{ name: 'stream.publish.10', ...medians(runs) }],
      report: { connections: CONNECTIONS, groups: TEN.length, runs: told(runs) },
    }
  },
}

async function publishing(bench: Bench, groups: readonly string[]): Promise<number> {
  const database = await declared(bench)
  const clients = await bench.clients(database, CONNECTIONS)
  const posthaste = new Posthaste({ database: pgDatabase(bench.pool(database, 1)), topology: streams })
  await using _reader = await Reader.start({ url: bench.urlOf(database), groups, relay: true, concurrency: 1 })
  let n = 0
  const rate = await closedLoop(clients, bench.quick ? SHORT : LOAD, async (client) => {
    n += 1
    await client.query('begin')
    await posthaste.publish(client, batch(n, 1, 10_000))
    await client.query('commit')
  })
  release(clients)
  return rate
}
