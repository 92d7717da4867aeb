// Any language that speaks SQL takes part: here a trigger publishes, TypeScript consumes and publishes, and plain SQL consumes.
import pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineTopology, migrate, Posthaste, pgDatabase } from '../src/index.ts'

const StockLow = defineMessage('stock.low', z.object({ sku: z.string(), left: z.int() }), { exchange: 'stock' })
const Reordered = defineMessage('stock.reordered', z.object({ sku: z.string(), pieces: z.int() }), {
  exchange: 'stock',
})
const topology = defineTopology({
  exchanges: { stock: 'topic' },
  queues: { purchasing: { from: [StockLow] }, warehouse: { from: [Reordered] } },
})

await migrate()
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
await posthaste.declare()

// A producer in SQL: whoever lowers the stock, in whatever language, publishes in that same transaction.
await pool.query(`
  create table stock (sku text primary key, pieces int);
  create function tell_purchasing() returns trigger language plpgsql as $$
  begin
    perform posthaste.publish('stock', 'stock.low', json_build_object('sku', new.sku, 'left', new.pieces), key => new.sku);
    return new;
  end $$;
  create trigger low after update on stock for each row when (new.pieces < 10) execute function tell_purchasing();
  insert into stock values ('teapot', 12)`)

posthaste.consumer('purchasing').on(StockLow, async ({ payload }, { publish }) => {
  console.log(`TypeScript: ${payload.left} ${payload.sku}s left, ordering more`)
  await publish(Reordered.create({ sku: payload.sku, pieces: 50 }))
})
await posthaste.start()
await pool.query(`update stock set pieces = 3 where sku = 'teapot'`)

// A consumer in SQL: lease in one transaction; work and complete in another, together.
const client = await pool.connect()
let leased: pg.QueryResult
do leased = await client.query(`select * from posthaste.receive('warehouse', 10, '30 seconds')`)
while (leased.rows.length === 0)

await client.query('begin')
for (const { lease_id, token, position, payload } of leased.rows) {
  await client.query('update stock set pieces = pieces + $2 where sku = $1', [payload.sku, payload.pieces])
  const { rows } = await client.query('select posthaste.complete($1, $2, $3) as fresh', [lease_id, token, position])
  console.log(`SQL: ${payload.pieces} ${payload.sku}s arrived, processed for the first time: ${rows[0].fresh}`)
}
await client.query('commit')
client.release()

console.log('in stock:', (await pool.query('select pieces from stock')).rows[0].pieces)
console.log('audit difference:', (await pool.query('select sum(abs(difference)) from posthaste.audit()')).rows[0].sum)
await posthaste.stop()
await pool.end()

// Output:
// TypeScript: 3 teapots left, ordering more
// SQL: 50 teapots arrived, processed for the first time: true
// in stock: 53
// audit difference: 0
