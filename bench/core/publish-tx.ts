import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { type Bench, release } from '../stand/bench.ts'
import { closedLoop, type LoadOptions } from '../stand/load.ts'
import { plain } from '../stand/plain.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import { runOn } from '../stand/server.ts'
import { OrderPlaced, topology } from '../stand/shop.ts'
import type { Workload } from '../stand/workload.ts'

const CONCURRENCY = 16
const OTHERS = [1, 4, 64]
const PAIRS = 10
const LOAD = { warmUpMs: 250, measureMs: 1_000 }
const SHORT_LOAD = { warmUpMs: 300, measureMs: 1_000 }
const limit = plain('publish-tx')

/**
 * BEGIN; insert the order; publish one message about it; COMMIT, each waited for. Against the same with an insert in place of
 * `publish`. 16 connections of one process: enough to share the log's flushes, few enough that two cores do not just queue.
 */
export const publishTx: Workload = {
  name: 'publish.tx',
  goals: [{ name: 'publish.tx', unit: 'transactions/s', measure: { kind: 'share-of-baseline', target: 0.85 } }],
  deadlineMs: 90_000,
  async run(bench) {
    const database = await bench.database()
    await runOn(bench.urlOf(database), limit('set_up').text)
    const runs = await compare(bench, database, CONCURRENCY, { pairs: PAIRS, load: LOAD })
    const others: Record<string, unknown> = {}
    for (const concurrency of OTHERS)
      others[concurrency] = told(await compare(bench, database, concurrency, { pairs: 2, load: SHORT_LOAD }))
    return {
      measured: [{ name: 'publish.tx', ...medians(runs) }],
      report: {
        ours: 'posthaste.publish(client, OrderPlaced.create(…))',
        concurrency: CONCURRENCY,
        runs: told(runs),
        others,
      },
    }
  },
}

interface Comparison {
  readonly pairs: number
  readonly load: LoadOptions
}

async function compare(bench: Bench, database: string, concurrency: number, { pairs, load }: Comparison) {
  const clients = await bench.clients(database, concurrency)
  const posthaste = new Posthaste({ database: pgDatabase(bench.pool(database, 1)), topology })
  const runs = await alternate(pairs, {
    ours: () => closedLoop(clients, load, (client) => publishing(client, posthaste)),
    baseline: () => closedLoop(clients, load, inserting),
  })
  release(clients)
  return runs
}

async function publishing(client: pg.PoolClient, posthaste: Posthaste<pg.PoolClient>): Promise<void> {
  const order = newOrder()
  await client.query('begin')
  await client.query({ ...limit('insert_order'), values: [order.orderId, order.cents, order.country] })
  await posthaste.publish(client, OrderPlaced.create(order))
  await client.query('commit')
}

async function inserting(client: pg.PoolClient): Promise<void> {
  const order = newOrder()
  await client.query('begin')
  await client.query({ ...limit('insert_order'), values: [order.orderId, order.cents, order.country] })
  await client.query({ ...limit('insert_message'), values: [messageId(), OrderPlaced.name, JSON.stringify(order)] })
  await client.query('commit')
}

function newOrder() {
  return { orderId: randomUUID(), cents: 4_200, country: 'NL' }
}

// The limit makes its ids as ours does.
function messageId(): string {
  return OrderPlaced.create(newOrder()).id
}
