import type pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { type Bench, release } from '../stand/bench.ts'
import { closedLoop } from '../stand/load.ts'
import { plain } from '../stand/plain.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import { runOn } from '../stand/server.ts'
import { OrderPlaced, topology } from '../stand/shop.ts'
import type { Workload } from '../stand/workload.ts'

const PUBLISHERS = 32
const PAIRS = 4
const LOAD = { warmUpMs: 1_000, measureMs: 3_000 }
const limit = plain('wakeup-32')

/** BEGIN; publish; COMMIT on 32 connections beside a relay in a process of its own: with what wakes it, and without. */
export const wakeup32: Workload = {
  name: 'wakeup.32',
  goals: [{ name: 'wakeup.32', unit: 'transactions/s', measure: { kind: 'share-of-baseline', target: 0.7 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const routed = { ours: [] as number[], baseline: [] as number[] }
    const runs = await alternate(PAIRS, {
      ours: () => publishing(bench, true, routed.ours),
      baseline: () => publishing(bench, false, routed.baseline),
    })
    return {
      measured: [{ name: 'wakeup.32', ...medians(runs) }],
      report: { publishers: PUBLISHERS, runs: told(runs), routedWhenPublishingEnded: routed },
    }
  },
}

async function publishing(bench: Bench, wakes: boolean, routed: number[]): Promise<number> {
  const database = await bench.database()
  if (!wakes) await runOn(bench.urlOf(database), limit('set_up').text)
  const relay = await bench.process(database, { relay: true, consume: 'nothing' })
  const clients = await bench.clients(database, PUBLISHERS)
  const posthaste = new Posthaste({ database: pgDatabase(bench.pool(database, 1)), topology })
  const rate = await closedLoop(clients, LOAD, (client) => publish(client, posthaste))
  routed.push(await shareRouted(clients[0]!))
  release(clients)
  await relay.stop()
  await bench.drop(database)
  return rate
}

async function publish(client: pg.PoolClient, posthaste: Posthaste<pg.PoolClient>): Promise<void> {
  await client.query('begin')
  await posthaste.publish(client, OrderPlaced.create({ orderId: '1', cents: 4_200, country: 'NL' }))
  await client.query('commit')
}

// Shows that the relay kept up: a side that publishes into a heap would not be the same work.
async function shareRouted(client: pg.PoolClient): Promise<number> {
  const { rows } = await client.query(
    'select (select count(*) from posthaste.ready)::float8 / (select count(*) from posthaste.outbox) as share',
  )
  return Math.round(rows[0].share * 1_000) / 1_000
}
