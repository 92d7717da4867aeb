// The whole idea: a business row and its message in one transaction, and an effect that happens once.
import pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineTopology, migrate, Posthaste, pgDatabase } from '../src/index.ts'

const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string(), cents: z.int() }))
const topology = defineTopology({ queues: { billing: { from: [OrderPlaced] } } })

await migrate() // the schema "posthaste", in the database of DATABASE_URL
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
await pool.query('create table orders (id text); create table charges (order_id text, cents int)')

const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
posthaste.consumer('billing').on(OrderPlaced, async ({ payload }, { tx }) => {
  await tx.query('insert into charges values ($1, $2)', [payload.orderId, payload.cents])
})
await posthaste.start()
const completed = posthaste.until('completed')

const client = await pool.connect()
await client.query('begin')
await client.query('insert into orders values ($1)', ['42'])
await posthaste.publish(client, OrderPlaced.create({ orderId: '42', cents: 1999 }))
await client.query('commit') // the order and its message: both, or neither
client.release()

await completed
console.log((await pool.query('select * from charges')).rows)
await posthaste.stop()
await pool.end()

// Output:
// [ { order_id: '42', cents: 1999 } ]
