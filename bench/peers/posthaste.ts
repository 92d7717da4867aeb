import pg from 'pg'
import { z } from 'zod'
import { DEFAULT_CONSUMER } from '../../src/consumer.ts'
import { type ExactlyOnceContext, Posthaste, pgDatabase } from '../../src/index.ts'
import { migrate } from '../../src/postgres/migrate.ts'
import { type Contract, defineMessage } from '../../src/rules/contract.ts'
import { defineTopology, type QueueDefinition } from '../../src/rules/topology.ts'
import { versionOfUs } from '../stand/machine.ts'
import type { Order, Peer, Routes, Sql, Tuning } from '../stand/peer.ts'
import { schema } from '../stand/shop.ts'

const LINE = z.object({ stockCode: z.string(), description: z.string(), quantity: z.int(), cents: z.int() })
const ORDER = schema.extend({ lines: z.array(LINE).optional() })

// What the relay and the listener hold beside the consumers.
const MORE_CONNECTIONS = 4
const STREAM = 'ledger'

export const peer: Peer = {
  name: 'posthaste',
  version: versionOfUs(),
  settings: {
    publish: 'posthaste.publish(client, OrderPlaced.create(…))',
    consume: `consumer(queue, { concurrency: connections }): ${DEFAULT_CONSUMER.guarantee}, batchSize '${DEFAULT_CONSUMER.batchSize}'`,
    'in batches': 'onBatch, one savepoint for all, in drain.effect alone',
    relay: 'in the process of the consumer, defaults',
    silent: 'set posthaste.wake = off, in producers.256 alone',
  },
  effect: 'exactly once',
  cannot: {},
  async install(url, tuning) {
    await migrate({ url })
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    await new Posthaste({ database: pgDatabase(pool), topology: topologyOf(tuning) }).declare()
    await pool.end()
  },
  async publisher(url, tuning) {
    const { routes } = tuning
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    const posthaste = new Posthaste({ database: pgDatabase(pool), topology: topologyOf(tuning) })
    const contracts = contractsOf(routes)
    const silent = new WeakSet<pg.PoolClient>()
    const quiet = async (client: pg.PoolClient) => {
      if (!tuning.silent || silent.has(client)) return
      await client.query('set posthaste.wake = off')
      silent.add(client)
    }
    return {
      async publish(client, topic, order, options) {
        await quiet(client)
        await posthaste.publish(client, contracts[topic]!.create({ ...order }), options)
      },
      async publishAll(client, topic, orders) {
        await quiet(client)
        await posthaste.publish(
          client,
          orders.map((order) => contracts[topic]!.create({ ...order })),
        )
      },
      async close() {
        await pool.end()
      },
    }
  },
  async work(url, options, handle) {
    const { routes, queues, connections, stream, batches } = options
    const pool = new pg.Pool({ connectionString: url, max: connections + MORE_CONNECTIONS })
    pool.on('error', () => {})
    const posthaste = new Posthaste({ database: pgDatabase(pool), topology: topologyOf(options) })
    const contracts = contractsOf(routes)
    if (stream) for (const contract of Object.values(contracts)) posthaste.consumer(STREAM).on(contract, () => {})
    for (const queue of queues) {
      const consumer = posthaste.consumer(queue, { concurrency: connections })
      for (const topic of Object.keys(routes).filter((name) => routes[name]!.includes(queue)))
        if (batches)
          consumer.onBatch(contracts[topic]!, async (deliveries, context) => {
            const sql = inTransaction(context)
            for (const { payload } of deliveries) await handle(payload, sql, queue)
          })
        else consumer.on(contracts[topic]!, ({ payload }, context) => handle(payload, inTransaction(context), queue))
    }
    const awake = new Promise<void>((resolve) => posthaste.on('listening', () => resolve()))
    await posthaste.start()
    await awake
    return {
      async stop() {
        await posthaste.stop({ timeoutMs: 2_000 })
        await pool.end()
      },
    }
  },
}

// A handler that writes nothing does not touch its `tx`, and is spared the savepoint.
function inTransaction(context: Pick<ExactlyOnceContext<pg.PoolClient>, 'tx'>): Sql {
  return (statement, values) => context.tx.query({ ...statement, values: [...values] })
}

function contractsOf(routes: Routes): Record<string, Contract<string, Order, Order>> {
  return Object.fromEntries(
    Object.keys(routes).map((topic) => [
      topic,
      defineMessage(topic, ORDER, { exchange: 'orders', key: (order) => order.orderId }),
    ]),
  )
}

function topologyOf({ routes, stream }: Tuning) {
  const contracts = contractsOf(routes)
  const names = [...new Set(Object.values(routes).flat())]
  const from = (queue: string) =>
    Object.keys(routes)
      .filter((topic) => routes[topic]!.includes(queue))
      .map((topic) => contracts[topic]!)
  const queues: Record<string, QueueDefinition<'orders'>> = Object.fromEntries(
    names.map((name) => [name, { from: from(name), retry: { maxAttempts: 5, strategy: 'fixed', minMs: 1_000 } }]),
  )
  if (stream) queues[STREAM] = { kind: 'stream', from: Object.values(contracts) }
  return defineTopology({ exchanges: { orders: 'topic' }, queues })
}
