// A stream keeps what was published: two groups read it, each for itself, and one of them reads it again to make up for a mistake.
import pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineTopology, migrate, Posthaste, pgDatabase } from '../src/index.ts'

const Moved = defineMessage('account.moved', z.object({ account: z.string(), cents: z.int() }), {
  exchange: 'accounts',
  key: ({ account }) => account,
})
const topology = defineTopology({
  exchanges: { accounts: 'topic' },
  queues: { moves: { kind: 'stream', from: [Moved] } },
})

await migrate()
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
await pool.query('create table balances (account text primary key, cents int)')
await pool.query('create table fees (account text primary key, cents int)')
const database = pgDatabase(pool)
const posthaste = new Posthaste({ database, topology })

const add = (table: 'balances' | 'fees') => `insert into ${table} as t values ($1, $2)
  on conflict (account) do update set cents = t.cents + excluded.cents`

// A group is a name. The moves of one account come to each group in their order, one at a time.
posthaste.consumer('moves', { group: 'balances' }).on(Moved, async ({ payload }, { tx }) => {
  await tx.query(add('balances'), [payload.account, payload.cents])
})
let feePercent = 10 // it ought to be 1
posthaste.consumer('moves', { group: 'fees' }).on(Moved, async ({ payload }, { tx }) => {
  await tx.query(add('fees'), [payload.account, Math.round((Math.abs(payload.cents) * feePercent) / 100)])
})
await posthaste.start()

function completed(count: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  posthaste.on('completed', () => --count === 0 && resolve())
  return promise
}

const both = completed(6)
await database.transaction(async (tx) => {
  await posthaste.publish(tx, [
    Moved.create({ account: 'ada', cents: 5_000 }),
    Moved.create({ account: 'bob', cents: 300 }),
    Moved.create({ account: 'ada', cents: -1_200 }),
  ])
})
await both
await print('balances')
await print('fees')

// What the group has made is thrown away and made again from the log. The other group does not notice.
const fees = posthaste.stream('moves').group('fees')
feePercent = 1
await pool.query('truncate fees')
const again = completed(3)
const { messages } = await fees.replay({ from: 'earliest' })
console.log(`the fees are reckoned again from ${messages} messages`)
await again
await print('fees')
await print('balances')
await posthaste.stop()
await pool.end()

async function print(table: 'balances' | 'fees') {
  const { rows } = await pool.query(`select * from ${table} order by account`)
  console.log(`${table}: ${rows.map(({ account, cents }) => `${account} ${cents}`).join(', ')}`)
}

// Output:
// balances: ada 3800, bob 300
// fees: ada 620, bob 30
// the fees are reckoned again from 3 messages
// fees: ada 62, bob 3
// balances: ada 3800, bob 300
