// A state machine: the state is a row, a message is a transition. A transition that does not fit is discarded, with its
// reason; one that comes too early is put back; each is applied once.
import pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineTopology, migrate, Posthaste, pgDatabase } from '../src/index.ts'

const Transition = defineMessage(
  'order.transition',
  z.object({ orderId: z.string(), to: z.enum(['paid', 'shipped', 'cancelled']) }),
  { key: ({ orderId }) => orderId },
)
const topology = defineTopology({ queues: { orders: { from: [Transition] } } })

type State = 'placed' | 'paid' | 'shipped' | 'cancelled'
const AFTER: Record<State, readonly State[]> = {
  placed: ['paid', 'cancelled'],
  paid: ['shipped', 'cancelled'],
  shipped: [],
  cancelled: [],
}

await migrate()
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
await pool.query(`create table orders (id text primary key, state text); insert into orders values ('7', 'placed')`)
const posthaste = new Posthaste({ database: pgDatabase(pool), topology })

posthaste.consumer('orders').on(Transition, async (delivery, { tx }) => {
  const { orderId, to } = delivery.payload
  const { rows } = await tx.query('select state from orders where id = $1 for update', [orderId])
  const from: State = rows[0].state
  if (to === 'shipped' && from === 'placed') return delivery.retry({ delayMs: 250 })
  if (!AFTER[from].includes(to)) return delivery.discard(`${from} cannot become ${to}`)
  await tx.query('update orders set state = $2 where id = $1', [orderId, to])
})
posthaste.on('discarded', ({ reason }) => console.log(`discarded: ${reason}`))
await posthaste.start()

async function publish(to: 'paid' | 'shipped' | 'cancelled') {
  const client = await pool.connect()
  await client.query('begin')
  await posthaste.publish(client, Transition.create({ orderId: '7', to }))
  await client.query('commit')
  client.release()
}

const putBack = posthaste.until('retried')
await publish('shipped') // before it is paid
console.log(`put back for ${(await putBack).delayMs} ms: not paid yet`)
const shipped = posthaste.until('completed', ({ attempt }) => attempt > 1)
await publish('paid')
await shipped
const discarded = posthaste.until('discarded')
await publish('cancelled') // too late
await discarded

console.log('order 7 is', (await pool.query('select state from orders')).rows[0].state)
await posthaste.stop()
await pool.end()

// Output:
// put back for 250 ms: not paid yet
// discarded: shipped cannot become cancelled
// order 7 is shipped
