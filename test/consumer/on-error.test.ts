import { afterAll, beforeAll, expect, test } from 'vitest'
import { NonRetryable } from '../../src/errors.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { deadLettersOf, drained, EFFECT, effectsOf, makeQueue, processOn, publishReady } from './bench.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

const coded = (code: string) => Object.assign(new Error(`it was ${code}`), { code })

test.each(['exactly-once-effects', 'at-least-once'] as const)(
  '%s: what onError answers is done to the failed delivery, and its error is kept',
  async (guarantee) => {
    const queue = await makeQueue(db.pool, { retry: { maxAttempts: 4, minMs: 60_000, maxMs: 60_000 } })
    const ids = await publishReady(db.pool, queue, 4)
    const { consumer, told } = processOn(db.url)
    const asked: unknown[] = []
    await consumer(queue, {
      guarantee,
      onError: (error, delivery) => {
        const { n } = delivery.payload as { n: number }
        asked.push([n, delivery.attempt, (error as { code?: string }).code])
        if (n === 0) return delivery.deadLetter('declined')
        if (n === 1) return delivery.discard('too late anyway')
        if (n === 2 && delivery.attempt === 1) return delivery.retry({ delayMs: 1 })
        if (n === 2) return delivery.deadLetter('declined again')
        return delivery.retry({ delayMs: 1 })
      },
    })
      .otherwise(({ payload, attempt }) => {
        const { n } = payload as { n: number }
        if (n === 3 && attempt === 1) throw new NonRetryable('so it said')
        if (n < 3) throw coded(`CODE_${n}`)
      })
      .start()
    await drained(db.pool, queue, 4)
    await until(() => told('completed').length === 1)
    expect(asked.toSorted()).toEqual([
      [0, 1, 'CODE_0'],
      [1, 1, 'CODE_1'],
      [2, 1, 'CODE_2'],
      [2, 2, 'CODE_2'],
      [3, 1, 'NON_RETRYABLE'],
    ])
    expect((await deadLettersOf(db.pool, queue)).toSorted((a, b) => a.attempts - b.attempts)).toMatchObject([
      { message_id: ids[0], reason: 'declined', attempts: 1, history: [{ code: 'CODE_0' }] },
      { message_id: ids[2], reason: 'declined again', attempts: 2, history: [{ code: 'CODE_2' }, { code: 'CODE_2' }] },
    ])
    expect(told('discarded')).toMatchObject([{ messageId: ids[1], reason: 'too late anyway' }])
  },
)

test('an onError that says nothing, throws or talks nonsense leaves it to the policy of the queue', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 2 } })
  await publishReady(db.pool, queue, 4)
  const { consumer, told } = processOn(db.url)
  const answers = [
    () => undefined,
    () => {
      throw new Error('it is broken')
    },
    () => 'retry',
    () => Promise.resolve(),
  ]
  await consumer(queue, {
    onError: ((_: unknown, { payload }: { payload: { n: number } }) => answers[payload.n]!()) as never,
  })
    .otherwise(() => {
      throw new Error('no')
    })
    .start()
  await drained(db.pool, queue, 4)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject(Array(4).fill({ reason: 'max-attempts', attempts: 2 }))
  await until(() => told('error').length >= 3)
})

test('an onError that pauses the queue for an outage uses no attempt', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  const [id] = await publishReady(db.pool, queue, 1)
  const { consumer, told } = processOn(db.url)
  let down = true
  await consumer(queue, { onError: (_, delivery) => delivery.pause({ forMs: 50, reason: 'the bank is down' }) })
    .otherwise(async ({ payload }, { tx }) => {
      await tx.query(EFFECT, [queue.name, id, (payload as { n: number }).n])
      if (!down) return
      down = false
      throw coded('ECONNREFUSED')
    })
    .start()
  await drained(db.pool, queue, 1)
  await until(() => told('completed').length === 1)
  expect(told('completed')).toMatchObject([{ attempt: 1 }])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[id, 1]]))
})

test('a handler that ran out of time is a failure like others', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 1)
  const { consumer } = processOn(db.url)
  await consumer(queue, {
    timeoutMs: 50,
    onError: (error, delivery) => delivery.deadLetter((error as { code: string }).code),
  })
    .otherwise(() => new Promise(() => {}))
    .start()
  await drained(db.pool, queue, 1)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ reason: 'HANDLER_TIMEOUT' }])
})
