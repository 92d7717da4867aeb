import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { accountOf, drained, EFFECT, effectsOf, makeQueue, type Numbered, processOn, publish } from './bench.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

test('every message takes effect once', async () => {
  const queue = await makeQueue(db.pool)
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { concurrency: 4 })
    .otherwise(async ({ id, payload }, { tx }) => {
      await tx.query(EFFECT, [queue.name, id, (payload as Numbered).n])
    })
    .start()
  const ids = await publish(db.pool, queue, 300)
  await drained(db.pool, queue, 300)

  const effects = await effectsOf(db.pool, queue)
  expect([...effects.values()].every((times) => times === 1)).toBe(true)
  expect(effects.size).toBe(ids.length)
  expect(told('completed')).toHaveLength(300)
  expect(await accountOf(db.pool, queue)).toEqual({ ready: 0, scheduled: 0, leased: 0, dead: 0 })
})
