import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { accountOf, drained, gate, makeQueue, type Numbered, processOn, publishReady } from './bench.ts'

const EMPTY = { ready: 0, scheduled: 0, leased: 0, dead: 0 }

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

test('the delivery has ended before the handler is called, and a failure is told by an event alone', async () => {
  const queue = await makeQueue(db.pool)
  const ids = await publishReady(db.pool, queue, 20)
  const left: number[] = []
  const seen: string[] = []
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { guarantee: 'at-most-once', concurrency: 2 })
    .otherwise(async ({ id, payload }) => {
      seen.push(id)
      const { rows } = await db.pool.query('select count(*)::int as n from posthaste.ready where message_id = $1', [id])
      left.push(rows[0].n)
      if ((payload as Numbered).n === 7) throw new Error('it went wrong')
    })
    .start()
  await drained(db.pool, queue, 20)
  await until(() => left.length === 20 && told('error').length === 1)
  expect(seen.toSorted()).toEqual(ids.toSorted())
  expect(left).toEqual(Array(20).fill(0))
  expect(told('error')).toMatchObject([{ error: { message: 'it went wrong' } }])
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})

test('a message that is delivered again is handled once', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 1)
  await db.pool.query(
    'insert into posthaste.ready (queue, priority, message, message_id) select queue, priority, message, message_id from posthaste.ready, generate_series(1, 3) where queue = $1',
    [queue.number],
  )
  let calls = 0
  const { consumer } = processOn(db.url)
  await consumer(queue, { guarantee: 'at-most-once', batchSize: 3 })
    .otherwise(() => {
      calls += 1
    })
    .start()
  await drained(db.pool, queue, 4)
  expect(calls).toBe(1)
})

test('at the deadline of a stop the handler is cut off, and what was claimed with it is told to be lost', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 3)
  const begun = gate()
  const { consumer, told } = processOn(db.url)
  const stopping = consumer(queue, { guarantee: 'at-most-once', concurrency: 1, batchSize: 3 }).otherwise(
    async (_, { signal }) => {
      begun.open()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
  )
  await stopping.start()
  await begun.opened
  await stopping.stop({ timeoutMs: 0 })
  expect(told('attempt-started')).toHaveLength(1)
  expect(told('warning')).toMatchObject([{ code: 'NOT_HANDLED' }])
})
