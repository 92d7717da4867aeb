import { Kysely, PostgresDialect, type Transaction } from 'kysely'
import pg from 'pg'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { Consumer, Guarantee, PublishInAttempt } from '../../src/consumer.ts'
import { kyselyDatabase } from '../../src/databases/kysely.ts'
import { pgDatabase } from '../../src/databases/pg.ts'
import { Posthaste } from '../../src/posthaste.ts'
import { defineMessage } from '../../src/rules/contract.ts'
import type { Delivery } from '../../src/rules/delivery.ts'
import type { Outcome } from '../../src/rules/outcome.ts'
import { defineTopology } from '../../src/rules/topology.ts'

interface Shop {
  orders: { id: string; cents: number }
}

const OrderPlaced = defineMessage('order.placed', z.object({ cents: z.string().transform(Number) }))
const topology = defineTopology({ queues: { billing: { from: [OrderPlaced] } } })
const db = new Kysely<Shop>({ dialect: new PostgresDialect({ pool: new pg.Pool() }) })
const posthaste = new Posthaste({ database: kyselyDatabase(db), topology })

test('a handler gets the output of the schema, and the transaction of the database that was named', () => {
  posthaste.consumer('billing').on(OrderPlaced, async ({ payload }, { tx, publish, signal }) => {
    expectTypeOf(payload).toEqualTypeOf<{ cents: number }>()
    expectTypeOf(tx).toEqualTypeOf<Transaction<Shop>>()
    expectTypeOf(publish).toEqualTypeOf<PublishInAttempt>()
    expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
  })
  const onPg = new Posthaste({ database: pgDatabase(new pg.Pool()), topology })
  onPg.consumer('billing').on(OrderPlaced, async (_, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<pg.PoolClient>()
  })
})

test('the context follows the guarantee', () => {
  posthaste.consumer('billing', { guarantee: 'exactly-once-effects' }).on(OrderPlaced, (_, context) => {
    expectTypeOf(context).toHaveProperty('tx')
    expectTypeOf(context).not.toHaveProperty('complete')
    expectTypeOf(context).not.toHaveProperty('extend')
  })
  posthaste.consumer('billing', { guarantee: 'at-least-once' }).on(OrderPlaced, async (_, context) => {
    expectTypeOf(context).not.toHaveProperty('tx')
    expectTypeOf(context.extend).toBeCallableWith(1_000)
    const answer = await context.complete(async (tx, publish) => {
      expectTypeOf(tx).toEqualTypeOf<Transaction<Shop>>()
      expectTypeOf(publish).toEqualTypeOf<PublishInAttempt>()
      return 7
    })
    expectTypeOf(answer).toEqualTypeOf<number | undefined>()
  })
  posthaste.consumer('billing', { guarantee: 'at-most-once' }).on(OrderPlaced, (_, context) => {
    expectTypeOf(context).not.toHaveProperty('tx')
    expectTypeOf(context).not.toHaveProperty('complete')
    expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>()
  })
})

test('a handler answers nothing or an outcome, and nothing else', () => {
  const consumer = posthaste.consumer('billing')
  consumer.on(OrderPlaced, () => {})
  consumer.on(OrderPlaced, async (delivery) => delivery.retry({ delayMs: 5 }))
  // biome-ignore lint/suspicious/noConfusingVoidType: what a handler with and without an answer returns
  consumer.on(OrderPlaced, async (delivery): Promise<Outcome | void> => {
    if (delivery.attempt > 3) return delivery.deadLetter('enough')
  })
  consumer.on(OrderPlaced, (delivery) => (delivery.attempt > 3 ? delivery.discard('enough') : undefined))
  // @ts-expect-error a number is no outcome
  consumer.on(OrderPlaced, () => 5)
  // @ts-expect-error an outcome is made by the delivery, not named
  consumer.on(OrderPlaced, async () => 'retry')
})

test('otherwise gets a payload of which nothing is known', () => {
  posthaste.consumer('billing').otherwise((delivery) => {
    expectTypeOf(delivery).toEqualTypeOf<Delivery<unknown>>()
  })
})

test('what is misspelt does not compile', () => {
  // @ts-expect-error no such queue
  posthaste.consumer('biling')
  // @ts-expect-error no such guarantee
  posthaste.consumer('billing', { guarantee: 'exactly-once' })
  // @ts-expect-error no such option
  posthaste.consumer('billing', { concurency: 3 })
})

test('consumers of every guarantee can be kept together', () => {
  expectTypeOf(posthaste.consumer('billing')).toEqualTypeOf<Consumer<Transaction<Shop>, 'exactly-once-effects'>>()
  expectTypeOf<'at-least-once'>().toExtend<Guarantee>()
})
