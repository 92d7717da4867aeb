// A till: the payment and the message that asks for it, in one transaction. It may be killed between any two of its
// statements: the one after it goes on with what is not there, under the same names.
import { setTimeout as pause } from 'node:timers/promises'
import { v5 } from 'uuid'
import { type Brief, brief, databaseOf } from '../../src/demo/child.ts'
import { Posthaste } from '../../src/index.ts'
import { centsOf, paymentOf } from './payment.ts'
import { PaymentRequested, topology } from './shop.ts'

export interface CheckoutBrief extends Brief {
  readonly payments: number
  readonly seed: number
  readonly share: number
  readonly shares: number
}

const NAMESPACE = '0b2d6d9e-58b7-5c0a-9f0e-7a1f5a4c2f11'

/** Customers take their time, so that there is something to be hit. */
const BETWEEN_MS = 4

const told = brief<CheckoutBrief>()
const { pool, database } = databaseOf(told, 2)
const posthaste = new Posthaste({ database, topology })

for (let n = told.share; n < told.payments; n += told.shares)
  await insist(() => request(paymentOf(told.seed, n), centsOf(told.seed, n)))
await pool.end()
process.exit(0)

async function request(id: string, cents: number): Promise<void> {
  await database.transaction(async (tx) => {
    const { rowCount } = await tx.query(
      'insert into shop.payments (id, cents) values ($1, $2) on conflict do nothing',
      [id, cents],
    )
    if (rowCount === 0) return
    await posthaste.publish(tx, PaymentRequested.create({ paymentId: id }), { id: v5(id, NAMESPACE) })
  })
  await pause(BETWEEN_MS)
}

// A connection that was cut at COMMIT leaves nobody knowing: done again, it is done once.
async function insist(work: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await work()
    } catch (error) {
      if (tries === 50) throw error
      await pause(20 * Math.min(tries + 1, 10))
    }
  }
}
