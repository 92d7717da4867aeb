import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { defineMessage } from '../../src/rules/contract.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import {
  accountOf,
  deadLettersOf,
  drained,
  EFFECT,
  effectsOf,
  inboxOf,
  makeQueue,
  processOn,
  publish,
  publishReady,
  TYPE,
} from './bench.ts'

const Order = defineMessage(TYPE, z.object({ n: z.int() }))
const EMPTY = { ready: 0, scheduled: 0, leased: 0, dead: 0 }

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

test('deliveries of one contract are handed over together, and their effect is committed with their end', async () => {
  const queue = await makeQueue(db.pool)
  const ids = await publishReady(db.pool, queue, 25, (n) => (n % 5 === 4 ? { type: 'other' } : {}))
  const { consumer, told } = processOn(db.url)
  const sizes: number[] = []
  const others: string[] = []
  await consumer(queue, { batchSize: 25, concurrency: 1 })
    .onBatch(Order, async (deliveries, { tx }) => {
      sizes.push(deliveries.length)
      for (const { id, payload } of deliveries) await tx.query(EFFECT, [queue.name, id, payload.n])
    })
    .otherwise(async ({ id }, { tx }) => {
      others.push(id)
      await tx.query(EFFECT, [queue.name, id, 0])
    })
    .start()
  await drained(db.pool, queue, 25)
  expect(sizes).toEqual([20])
  expect(others).toHaveLength(5)
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
  expect(await inboxOf(db.pool, queue)).toEqual(new Set(ids))
  await until(() => told('completed').length === 25)
})

test('what a batch handler says of one delivery is done to that one, and the others are done', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 5 } })
  const ids = await publishReady(db.pool, queue, 6)
  const { consumer, told } = processOn(db.url)
  let calls = 0
  await consumer(queue, { batchSize: 6, concurrency: 1 })
    .onBatch(Order, async (deliveries, { tx }) => {
      calls += 1
      for (const { id, payload } of deliveries) await tx.query(EFFECT, [queue.name, id, payload.n])
      if (calls > 1) return
      const [retried, dead, discarded] = deliveries
      return new Map([
        [retried!.id, retried!.retry({ delayMs: 1 })],
        [dead!.id, dead!.deadLetter('unknown customer')],
        [discarded!.id, discarded!.discard('a test order')],
      ])
    })
    .start()
  await drained(db.pool, queue, 6)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ message_id: ids[1], reason: 'unknown customer' }])
  await until(() => told('completed').length === 4)
  expect(told('discarded')).toMatchObject([{ messageId: ids[2] }])
  expect(told('retried')).toMatchObject([{ messageId: ids[0], attempt: 1 }])
})

test('of a batch that fails only those that fail alone are charged, and nothing of the failed try remains', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 2 } })
  const ids = await publishReady(db.pool, queue, 8)
  const { consumer } = processOn(db.url)
  const sizes: number[] = []
  await consumer(queue, { batchSize: 8, concurrency: 1 })
    .onBatch(Order, async (deliveries, { tx }) => {
      sizes.push(deliveries.length)
      for (const { id, payload } of deliveries) {
        await tx.query(EFFECT, [queue.name, id, payload.n])
        if (payload.n === 3) await tx.query('select 1 / 0')
        if (payload.n === 5) await tx.query('select 1 / 0').catch(() => {})
      }
    })
    .start()
  await drained(db.pool, queue, 8)
  expect(sizes.slice(0, 9)).toEqual([8, ...Array(8).fill(1)])
  const poison = [ids[3], ids[5]]
  expect((await deadLettersOf(db.pool, queue)).map(({ message_id, attempts }) => ({ message_id, attempts }))).toEqual(
    expect.arrayContaining(poison.map((message_id) => ({ message_id, attempts: 2 }))),
  )
  const expected = ids.filter((id) => !poison.includes(id)).map((id) => [id, 1] as const)
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(expected))
})

test('a batch handler that does not end leaves nothing behind, and its deliveries are attempted alone', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  const ids = await publishReady(db.pool, queue, 5)
  const { consumer } = processOn(db.url)
  await consumer(queue, { batchSize: 5, concurrency: 1, timeoutMs: 150 })
    .onBatch(Order, async (deliveries, { tx }) => {
      for (const { id, payload } of deliveries) await tx.query(EFFECT, [queue.name, id, payload.n])
      if (deliveries.some(({ payload }) => payload.n === 2)) await new Promise(() => {})
    })
    .start()
  await drained(db.pool, queue, 5)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([
    { message_id: ids[2], history: [{ code: 'HANDLER_TIMEOUT' }] },
  ])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.filter((_, n) => n !== 2).map((id) => [id, 1])))
})

test('an answer that is no Map of its own deliveries fails the attempt', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  await publishReady(db.pool, queue, 2)
  const { consumer } = processOn(db.url)
  await consumer(queue, { batchSize: 2, concurrency: 1 })
    .onBatch(Order, (([first]: { id: string }[]) => new Map([[`not-${first!.id}`, undefined]])) as never)
    .start()
  await drained(db.pool, queue, 2)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject(
    Array(2).fill({ history: [{ code: 'INVALID_BATCH_ANSWER' }] }),
  )
})

test('what a batch publishes belongs to a conversation all its deliveries share', async () => {
  const queue = await makeQueue(db.pool)
  const next = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 3, () => ({ correlationId: 'order 7' }))
  const { consumer } = processOn(db.url)
  await consumer(queue, { batchSize: 3, concurrency: 1 })
    .onBatch(
      Order,
      async (_, { publish: send }) => void (await send({ type: 'sum', routingKey: next.name, payload: {} })),
    )
    .start()
  const seen: unknown[] = []
  await consumer(next)
    .otherwise(({ correlationId, causationId }) => void seen.push({ correlationId, causationId }))
    .start()
  await drained(db.pool, next, 1)
  expect(seen).toEqual([{ correlationId: 'order 7', causationId: undefined }])
})

test('leased deliveries are handed over together too; a failure charges each of them', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 2 } })
  await publishReady(db.pool, queue, 4)
  const { consumer } = processOn(db.url)
  const sizes: number[] = []
  await consumer(queue, { guarantee: 'at-least-once', batchSize: 4, concurrency: 1 })
    .onBatch(Order, async (deliveries, { extend }) => {
      sizes.push(deliveries.length)
      await extend(10_000)
      if (sizes.length === 1) throw new Error('not now')
      return new Map([[deliveries[0]!.id, deliveries[0]!.discard('enough')]])
    })
    .start()
  await drained(db.pool, queue, 4)
  expect(sizes.reduce((sum, size) => sum + size)).toBe(8)
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})

test('at most once, a batch is called once whatever it does', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 4)
  const { consumer, told } = processOn(db.url)
  const sizes: number[] = []
  await consumer(queue, { guarantee: 'at-most-once', batchSize: 4, concurrency: 1 })
    .onBatch(Order, (deliveries) => {
      sizes.push(deliveries.length)
      throw new Error('too bad')
    })
    .start()
  await drained(db.pool, queue, 4)
  await until(() => told('completed').length === 4)
  expect(sizes).toEqual([4])
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})

test('a contract has one handler, of one kind', async () => {
  const queue = await makeQueue(db.pool)
  const made = processOn(db.url, { relay: false })
    .consumer(queue)
    .on(Order, () => {})
  expect(() => made.onBatch(Order, () => {})).toThrow(expect.objectContaining({ code: 'DUPLICATE_HANDLER' }))
})

test('batches under concurrency take effect once each, whichever of them fail', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 30 } })
  const { consumer } = processOn(db.url)
  let failures = 0
  await consumer(queue, { concurrency: 5 })
    .onBatch(Order, async (deliveries, { tx }) => {
      for (const { id, payload } of deliveries) await tx.query(EFFECT, [queue.name, id, payload.n])
      if (deliveries.some(({ payload, attempt }) => payload.n % 17 === 0 && attempt < 3)) {
        failures += 1
        throw new Error('not yet')
      }
    })
    .start()
  const ids = await publish(db.pool, queue, 400)
  await drained(db.pool, queue, 400)
  expect(failures).toBeGreaterThan(24)
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
})
