import type pg from 'pg'
import { type PayloadOf, Posthaste } from '../index.ts'
import { type Brief, brief, databaseOf, endWith } from './child.ts'
import { OrderPlaced, type Service, topology } from './shop.ts'

export interface WorkerBrief extends Brief {
  readonly service: Service
}

type Effect = (tx: pg.PoolClient, messageId: string, order: PayloadOf<typeof OrderPlaced>) => Promise<unknown>

const CONCURRENCY = 2

const EFFECTS: { readonly [Name in Service]: Effect } = {
  billing: (tx, messageId, { orderId, totalCents }) =>
    tx.query(
      `with entry as (insert into shop.ledger (order_id, cents) values ($1, $3))
       insert into shop.effects (service, order_id, message_id, outcome) values ('billing', $1, $2, 'billed')`,
      [orderId, messageId, totalCents],
    ),

  // Who comes too late is told so, and that is an effect as well.
  inventory: (tx, messageId, { orderId, article, quantity }) =>
    tx.query(
      `with taken as (
         update shop.stock set remaining = remaining - $4 where article = $3 and remaining >= $4 returning article
       )
       insert into shop.effects (service, order_id, message_id, outcome)
       select 'inventory', $1, $2, case when exists (select from taken) then 'reserved' else 'refused' end`,
      [orderId, messageId, article, quantity],
    ),

  notifications: (tx, messageId, { orderId, customer }) =>
    tx.query(
      `insert into shop.effects (service, order_id, message_id, outcome) values ('notifications', $1, $2, 'told ' || $3)`,
      [orderId, messageId, customer],
    ),
}

const told = brief<WorkerBrief>()
const { pool, database } = databaseOf(told, CONCURRENCY + 1)
const posthaste = new Posthaste({ database, topology, service: told.service })

posthaste
  .consumer(told.service, { concurrency: CONCURRENCY })
  .on(OrderPlaced, async ({ id, payload }, { tx }) => void (await EFFECTS[told.service](tx, id, payload)))

endWith(async () => {
  await posthaste.stop()
  await pool.end()
})
await posthaste.start({ relay: false })
