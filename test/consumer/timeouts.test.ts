import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import {
  accountOf,
  deadLettersOf,
  drained,
  EFFECT,
  effectsOf,
  gate,
  makeQueue,
  type Numbered,
  processOn,
  publishReady,
} from './bench.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

test('a timed-out handler that goes on writing changes nothing, and its neighbours are not charged', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  const ids = await publishReady(db.pool, queue, 5)
  const { consumer, told } = processOn(db.url)
  const zombie: Promise<unknown>[] = []
  let reason: unknown
  await consumer(queue, { concurrency: 1, batchSize: 5, timeoutMs: 500 })
    .otherwise(async ({ id, payload }, { tx, signal }) => {
      const { n } = payload as Numbered
      await tx.query(EFFECT, [queue.name, id, n])
      if (n !== 2) return
      signal.addEventListener('abort', () => {
        reason = signal.reason
        zombie.push(tx.query(EFFECT, [queue.name, id, n]))
      })
      await gate().opened
    })
    .start()
  await drained(db.pool, queue, 5)

  expect(reason).toMatchObject({ code: 'HANDLER_TIMEOUT', timeoutMs: 500 })
  expect((await Promise.allSettled(zombie)).map(({ status }) => status)).toEqual(['rejected'])
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([
    { message_id: ids[2], attempts: 1, crashes: 0, history: [{ code: 'HANDLER_TIMEOUT' }] },
  ])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.filter((_, n) => n !== 2).map((id) => [id, 1])))
  expect(told('crash-counted')).toEqual([])
})

test('a handler that is stuck in a statement is timed out, and the server lets go of it', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 2 } })
  await publishReady(db.pool, queue, 1)
  const { consumer } = processOn(db.url)
  await consumer(queue, { timeoutMs: 60 })
    .otherwise(async (_, { tx }) => void (await tx.query('select pg_sleep(3600) as stuck')))
    .start()
  await drained(db.pool, queue, 1)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ attempts: 2, reason: 'max-attempts' }])
  await until(async () => {
    const { rows } = await db.pool.query(
      `select from pg_stat_activity where query like '%as stuck' and pid <> pg_backend_pid()`,
    )
    return rows.length === 0
  })
})

test('a handler that heeds its signal has failed all the same', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  await publishReady(db.pool, queue, 1)
  const { consumer } = processOn(db.url)
  await consumer(queue, { timeoutMs: 30 })
    .otherwise(
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('as you wish')))
        }),
    )
    .start()
  await drained(db.pool, queue, 1)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ history: [{ code: 'HANDLER_TIMEOUT' }] }])
  expect(await accountOf(db.pool, queue)).toMatchObject({ ready: 0, scheduled: 0 })
})
