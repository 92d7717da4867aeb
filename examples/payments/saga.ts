// A saga: reserve, charge, ship, and when shipping fails refund and release. Every step is an operation of the effect ledger with
// a key of its own, recorded with the row that tells of it; whoever comes back goes on at the first step that is not recorded.
import pg from 'pg'
import { z } from 'zod'
import {
  defineMessage,
  defineProvider,
  defineTopology,
  type EffectCall,
  migrate,
  NonRetryable,
  Posthaste,
  pgDatabase,
} from '../../src/index.ts'

const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string() }), { key: ({ orderId }) => orderId })
const topology = defineTopology({
  queues: { fulfilment: { from: [OrderPlaced], retry: { minMs: 10, maxMs: 50, maxAttempts: 8 } } },
})

/** All of them take idempotency keys, and remember them for a day. */
const outside = defineProvider('outside', { keyWindowMs: 86_400_000 })

await migrate()
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
await pool.query(`
  create table orders (id text primary key, cents int, state text default 'placed');
  create table steps (order_id text, n int generated always as identity, step text, outcome text);
  insert into orders values ('7', 59900)`)
const database = pgDatabase(pool)
const posthaste = new Posthaste({ database, topology })

/** What the outside did, and what it thinks of it; the answer to the first charge is lost on the way. */
const done: string[] = []
let [lost, dead] = [false, false]
function does(what: string) {
  return async ({ idempotencyKey }: EffectCall): Promise<string> => {
    done.push(`${what} under ${idempotencyKey}`)
    console.log(`outside: ${what}`)
    if (what.startsWith('charge') && !lost) {
      lost = true
      throw new Error('socket hang up')
    }
    return what
  }
}
const finds = async ({ idempotencyKey }: EffectCall) =>
  done.find((one) => one.endsWith(idempotencyKey))?.split(' under ')[0]

/** Nobody knows yet what became of a step: the saga goes on later. */
class NotYet extends Error {
  readonly retryAfterMs: number

  constructor(step: string, retryAfterMs: number) {
    super(`${step} is unknown`)
    this.retryAfterMs = retryAfterMs
  }
}

type Call = (call: EffectCall) => Promise<string | ReturnType<EffectCall['failed']>>

/** Does a step once, however often it is asked for, and records it with its row. False: the outside has refused. */
async function step(name: string, { id, cents }: { id: string; cents: number }, call: Call): Promise<boolean> {
  const effect = await posthaste.effects.run(`${name}:order-${id}`, {
    request: { id, cents },
    provider: outside,
    call,
    reconcile: finds,
  })
  if (effect.status === 'unknown') throw new NotYet(name, effect.retryAfterMs)
  if (effect.status === 'needs_review') throw new NonRetryable(effect.reason)
  await database.transaction((tx) =>
    effect.record(tx, () =>
      tx.query('insert into steps (order_id, step, outcome) values ($1, $2, $3)', [id, name, effect.status]),
    ),
  )
  return effect.status === 'succeeded'
}

posthaste
  .consumer('fulfilment', {
    guarantee: 'at-least-once',
    providers: [outside],
    onError: (error, delivery) =>
      error instanceof NotYet ? delivery.retry({ delayMs: Math.min(error.retryAfterMs, 20) }) : undefined,
  })
  .on(OrderPlaced, async ({ payload }, { complete }) => {
    const { rows } = await pool.query('select id, cents from orders where id = $1', [payload.orderId])
    const order: { id: string; cents: number } = rows[0]
    const end = (state: string) =>
      complete(async (tx) => void (await tx.query('update orders set state = $2 where id = $1', [order.id, state])))

    if (!(await step('reserve', order, does('reserve')))) return await end('sold out')
    const charged = await step('charge', order, does('charge 599.00'))
    if (charged && (await step('ship', order, async ({ failed }) => failed('no such address')))) {
      return await end('shipped')
    }
    // from here on it is undone, step by step, under keys made of what is undone
    if (charged) await step('refund:charge', order, does('refund 599.00'))
    if (!dead) {
      dead = true
      throw new Error('the process dies here')
    }
    await step('release:reserve', order, does('release'))
    await end('cancelled')
  })
posthaste.on('retried', ({ error }) => console.log(`again, because: ${error?.message}`))
await posthaste.start()

const completed = posthaste.until('completed')
await database.transaction((tx) => posthaste.publish(tx, OrderPlaced.create({ orderId: '7' })))
await completed

const { rows: steps } = await pool.query('select step, outcome from steps order by n')
for (const { step: name, outcome } of steps) console.log(`${name}: ${outcome}`)
console.log('order 7 is', (await pool.query('select state from orders')).rows[0].state)
const keys = new Set(done.map((one) => one.split(' under ')[1]))
console.log(`${done.length} calls to the outside, ${keys.size} keys`)
await posthaste.stop()
await pool.end()

// Output:
// outside: reserve
// outside: charge 599.00
// again, because: charge is unknown
// outside: refund 599.00
// again, because: the process dies here
// outside: release
// reserve: succeeded
// charge: succeeded
// ship: failed
// refund:charge: succeeded
// release:reserve: succeeded
// order 7 is cancelled
// 4 calls to the outside, 4 keys
