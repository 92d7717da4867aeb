import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { proxyBefore } from '../support/proxy.ts'
import { until } from '../support/until.ts'
import {
  accountOf,
  deadLettersOf,
  drained,
  EFFECT,
  effectsOf,
  gate,
  inboxOf,
  makeQueue,
  type Numbered,
  processOn,
  publish,
  publishReady,
} from './bench.ts'

const EMPTY = { ready: 0, scheduled: 0, leased: 0, dead: 0 }

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

/** Makes every lease of the queue lapse now, as its time would. */
const lapse = (queue: { number: number }) =>
  db.pool.query(`update posthaste.leases set expires_at = clock_timestamp() - interval '1 s' where queue = $1`, [
    queue.number,
  ])

test('a handler that returns has completed its delivery', async () => {
  const queue = await makeQueue(db.pool)
  const seen: string[] = []
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { guarantee: 'at-least-once', concurrency: 3 })
    .otherwise(({ id, attempt }) => {
      expect(attempt).toBe(1)
      seen.push(id)
    })
    .start()
  const ids = await publish(db.pool, queue, 100)
  await drained(db.pool, queue, 100)
  expect(seen.toSorted()).toEqual(ids.toSorted())
  await until(() => told('completed').length === 100)
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})

test('failed attempts are counted, repeated, and end among the dead letters', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 3 } })
  const attempts: number[] = []
  const { consumer } = processOn(db.url)
  await consumer(queue, { guarantee: 'at-least-once' })
    .otherwise(({ attempt }) => {
      attempts.push(attempt)
      throw new Error(`failure ${attempt}`)
    })
    .start()
  await publish(db.pool, queue, 1)
  await drained(db.pool, queue, 1)
  expect(attempts).toEqual([1, 2, 3])
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([
    {
      reason: 'max-attempts',
      attempts: 3,
      history: [{ message: 'failure 1' }, { message: 'failure 2' }, { message: 'failure 3' }],
    },
  ])
})

test('complete commits effect, inbox row and end together, once per message', async () => {
  const queue = await makeQueue(db.pool)
  const other = await makeQueue(db.pool)
  const [id] = await publishReady(db.pool, queue, 1)
  await db.pool.query(
    'insert into posthaste.ready (queue, priority, message, message_id) select queue, priority, message, message_id from posthaste.ready where queue = $1',
    [queue.number],
  )
  const answers: unknown[] = []
  let begun = 0
  const { consumer } = processOn(db.url)
  await consumer(queue, { guarantee: 'at-least-once', concurrency: 2, batchSize: 1 })
    .otherwise(async (delivery, { complete }) => {
      begun += 1
      await until(() => begun === 2)
      const answer = await complete(async (tx, send) => {
        await tx.query(EFFECT, [queue.name, delivery.id, 0])
        await send({ type: 'done', routingKey: other.name, payload: {} })
        return 'worked'
      })
      answers.push(answer)
    })
    .start()
  await drained(db.pool, queue, 2)
  await until(() => answers.length === 2)
  expect(answers.toSorted()).toEqual(['worked', undefined])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[id, 1]]))
  expect(await inboxOf(db.pool, queue)).toEqual(new Set([id]))
  await until(async () => (await accountOf(db.pool, other)).ready === 1)
})

test('a lapsed lease cannot settle a delivery that another consumer has taken (C-5)', async () => {
  const queue = await makeQueue(db.pool)
  const [id] = await publishReady(db.pool, queue, 1)
  const slow = gate()
  const begun = gate()
  const late: unknown[] = []
  const first = processOn(db.url)
  const second = processOn(db.url)
  const work = (tx: { query(text: string, values: unknown[]): Promise<unknown> }) =>
    tx.query(EFFECT, [queue.name, id, 0])
  await first
    .consumer(queue, { guarantee: 'at-least-once', leaseMs: 60_000, concurrency: 1 })
    .otherwise(async (_, { complete }) => {
      begun.open()
      await slow.opened
      await complete(async (tx) => void (await work(tx))).catch((error) => {
        late.push(error)
        throw error
      })
    })
    .start()
  await begun.opened
  await lapse(queue)
  await until(async () => (await accountOf(db.pool, queue)).leased === 0)
  await second
    .consumer(queue, { guarantee: 'at-least-once' })
    .otherwise(async (_, { complete }) => void (await complete(async (tx) => void (await work(tx)))))
    .start()
  await drained(db.pool, queue, 1)
  slow.open()
  await until(() => first.told('lease-lost').length === 1)
  expect(late).toMatchObject([{ code: 'LEASE_LOST' }])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[id, 1]]))
  expect(first.told('completed')).toEqual([])
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})

test('a handler whose lease is lost is told by its signal, and what it returns settles nothing', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 1)
  const calls: number[] = []
  const { consumer, told } = processOn(db.url)
  let reason: unknown
  await consumer(queue, { guarantee: 'at-least-once', leaseMs: 1_000 })
    .otherwise(async ({ attempt }, { signal }) => {
      calls.push(attempt)
      if (attempt > 1) return
      await lapse(queue)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      reason = signal.reason
    })
    .start()
  await drained(db.pool, queue, 1)
  await until(() => reason)
  expect(reason).toMatchObject({ code: 'LEASE_LOST' })
  expect(calls).toEqual([1, 2])
  expect(told('lease-lost')).toHaveLength(1)
  await until(() => told('completed').length === 1)
})

test('a lease is renewed for as long as its handler works', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 1)
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { guarantee: 'at-least-once', leaseMs: 1_000 })
    .otherwise(async () => {
      const granted = async () =>
        (await db.pool.query('select expires_at from posthaste.leases where queue = $1', [queue.number])).rows[0]
          .expires_at as Date
      const first = await granted()
      await until(async () => (await granted()).getTime() > first.getTime() + 1_000)
    })
    .start()
  await drained(db.pool, queue, 1)
  expect(told('attempt-started')).toHaveLength(1)
  expect(told('lease-lost')).toEqual([])
})

test('a handler that times out has failed, and cannot complete afterwards', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  const [id] = await publishReady(db.pool, queue, 1)
  const { consumer } = processOn(db.url)
  const late: Promise<unknown>[] = []
  await consumer(queue, { guarantee: 'at-least-once', timeoutMs: 50 })
    .otherwise(async (_, { complete, signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      late.push(complete(async (tx) => void (await tx.query(EFFECT, [queue.name, id, 0]))))
      late[0]!.catch(() => {})
    })
    .start()
  await drained(db.pool, queue, 1)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ history: [{ code: 'HANDLER_TIMEOUT' }] }])
  await until(() => late.length)
  await expect(late[0]).rejects.toMatchObject({ code: 'LEASE_LOST' })
  expect(await effectsOf(db.pool, queue)).toEqual(new Map())
})

test('extend gives the attempt more time than it had', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  await publishReady(db.pool, queue, 1)
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { guarantee: 'at-least-once', timeoutMs: 80 })
    .otherwise(async (_, { extend }) => {
      await extend(10_000)
      await new Promise((resolve) => setTimeout(resolve, 160))
    })
    .start()
  await drained(db.pool, queue, 1)
  await until(() => told('completed').length === 1)
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})

test('what was leased and not begun goes back without an attempt when the consumer stops', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 5)
  const begun = gate()
  const finish = gate()
  const { consumer } = processOn(db.url)
  const stopping = consumer(queue, { guarantee: 'at-least-once', concurrency: 1, batchSize: 5 }).otherwise(async () => {
    begun.open()
    await finish.opened
  })
  await stopping.start()
  await begun.opened
  const stopped = stopping.stop()
  finish.open()
  await stopped
  expect(await accountOf(db.pool, queue)).toMatchObject({ leased: 0 })
  const { rows } = await db.pool.query(
    'select attempts from posthaste.scheduled where queue = $1 union all select attempts from posthaste.ready where queue = $1',
    [queue.number],
  )
  expect(rows).toEqual(Array(4).fill({ attempts: 0 }))
})

test('a complete whose COMMIT answer is lost takes effect once (C-4)', async () => {
  await using proxy = await proxyBefore(db.url)
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 5 } })
  const ids = await publishReady(db.pool, queue, 6)
  const { consumer } = processOn(proxy.url)
  let cuts = 0
  await consumer(queue, { guarantee: 'at-least-once', concurrency: 1, batchSize: 1 })
    .otherwise(async (delivery, { complete }) => {
      const { n } = delivery.payload as Numbered
      await complete(async (tx) => {
        await tx.query(EFFECT, [queue.name, delivery.id, n])
        if (cuts++ < 4) proxy.cutCommits(n % 2 ? 'before' : 'after')
      })
    })
    .start()
  await drained(db.pool, queue, 6)
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})
