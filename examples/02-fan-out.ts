// One message, many queues: a topic exchange copies it to every queue whose pattern matches, in one statement.
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineTopology, kyselyDatabase, migrate, Posthaste } from '../src/index.ts'

interface Shop {
  seen: { queue: string; order_id: string }
}

const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string(), country: z.string() }), {
  exchange: 'orders',
  key: ({ orderId }) => orderId,
  routingKey: ({ country }) => `order.placed.${country}`,
})

const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: {
    billing: { from: [OrderPlaced] },
    'french-customs': { from: [{ exchange: 'orders', routingKey: 'order.*.fr' }] },
    audit: { from: [{ exchange: 'orders', routingKey: 'order.#' }] },
  },
})

await migrate()
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
const db = new Kysely<Shop>({ dialect: new PostgresDialect({ pool }) })
await pool.query('create table seen (queue text, order_id text)')

const posthaste = new Posthaste({ database: kyselyDatabase(db, { pool }), topology })
for (const queue of ['billing', 'french-customs', 'audit'] as const) {
  posthaste.consumer(queue).on(OrderPlaced, async ({ payload }, { tx }) => {
    await tx.insertInto('seen').values({ queue, order_id: payload.orderId }).execute()
  })
}
await posthaste.start()

let completed = 0
const { promise: all, resolve } = Promise.withResolvers<void>()
posthaste.on('completed', () => ++completed === 5 && resolve())

await db.transaction().execute(async (tx) => {
  await posthaste.publish(tx, [
    OrderPlaced.create({ orderId: 'lyon-1', country: 'fr' }),
    OrderPlaced.create({ orderId: 'oslo-2', country: 'no' }),
  ])
})

await all
for (const { queue, order_id } of await db
  .selectFrom('seen')
  .selectAll()
  .orderBy('queue')
  .orderBy('order_id')
  .execute())
  console.log(queue, order_id)
await posthaste.stop()
await db.destroy()

// Output:
// audit lyon-1
// audit oslo-2
// billing lyon-1
// billing oslo-2
// french-customs lyon-1
