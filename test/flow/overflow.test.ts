import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { QueueFull } from '../../src/errors.ts'
import { defineTopology, pgDatabase } from '../../src/index.ts'
import { accountOf, deadLettersOf, makeQueue, processOn, publish, type TestQueue } from '../consumer/bench.ts'
import { route, service, unaccounted } from '../queue/bench.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

async function balanced(queue: TestQueue): Promise<void> {
  const { rows } = await db.pool.query('select difference from posthaste.audit() where name = $1', [queue.name])
  expect(rows).toEqual([{ difference: '0' }])
}

async function left(queue: TestQueue): Promise<number[]> {
  const { rows } = await db.pool.query(
    `select (o.payload ->> 'n')::int as n from posthaste.ready r join posthaste.outbox o on o.id = r.message
     where r.queue = $1 order by r.priority, r.position`,
    [queue.number],
  )
  return rows.map(({ n }) => n)
}

describe('a queue that has more than it may', () => {
  test('makes the oldest of the least urgent dead letters', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxLength: 10, overflow: 'dead-letter' } })
    await publish(db.pool, queue, 15, (n) => ({ priority: n < 3 ? 9 : 0, payload: { n } }))
    await route(db.pool)
    expect(await left(queue)).toEqual([0, 1, 2, 8, 9, 10, 11, 12, 13, 14])
    const letters = await deadLettersOf(db.pool, queue)
    expect(letters.map(({ reason }) => reason)).toEqual(Array(5).fill('overflow'))
    expect(letters.map(({ payload }) => (payload as { n: number }).n).toSorted()).toEqual([3, 4, 5, 6, 7])
    await balanced(queue)
  })

  test('or drops and counts them', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxLength: 10, overflow: 'drop-head' } })
    for (let round = 0; round < 3; round += 1) {
      await publish(db.pool, queue, 6, (n) => ({ payload: { n: 6 * round + n } }))
      await route(db.pool)
    }
    expect(await left(queue)).toEqual([8, 9, 10, 11, 12, 13, 14, 15, 16, 17])
    const { rows } = await db.pool.query(`select discarded::int from posthaste.audit() where name = $1`, [queue.name])
    expect(rows).toEqual([{ discarded: 8 }])
    await balanced(queue)
  })

  test('by the bytes of what is ready, too', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxBytes: 5_000, overflow: 'drop-head' } })
    await publish(db.pool, queue, 8, (n) => ({ payload: { n, text: 'x'.repeat(980) } }))
    await route(db.pool)
    expect(await left(queue)).toEqual([3, 4, 5, 6, 7])
    await balanced(queue)
  })

  test('never drops what a consumer holds', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxLength: 2, overflow: 'drop-head' } })
    const { consumer, told } = processOn(db.url)
    const held = Promise.withResolvers<void>()
    await consumer(queue, { concurrency: 1, batchSize: 1 })
      .otherwise(() => held.promise)
      .start()
    await publish(db.pool, queue, 1)
    await until(() => told('attempt-started').length === 1)
    await publish(db.pool, queue, 5)
    await until(async () => (await accountOf(db.pool, queue)).ready === 2)
    held.resolve()
    await until(() => told('completed').length === 2)
    await balanced(queue)
  })
})

describe('a queue that refuses publishers', () => {
  const full = async (name: string, count: number) => {
    const topology = defineTopology({
      exchanges: { [`x.${name}`]: 'topic' },
      queues: {
        [name]: {
          from: [{ exchange: `x.${name}`, routingKey: 'order.#' }],
          maxLength: count,
          overflow: 'reject-publish',
        },
        [`${name}.other`]: { from: [{ exchange: `x.${name}`, routingKey: 'other.#' }] },
      },
    })
    const process = service(db.url, topology)
    await process.posthaste.declare()
    await process.publish(...Array.from({ length: count }, () => ({ type: name, payload: {} })))
    await route(db.pool)
    return process
  }

  test('is full for its own name and its bindings, and the transaction stays usable', async () => {
    const { posthaste, pool } = await full('small', 3)
    await until(
      async () =>
        await pgDatabase(pool).transaction(async (tx) => {
          const refused = await posthaste.publish(tx, { type: 'small', payload: {} }).catch((error) => error)
          if (!(refused instanceof QueueFull)) return false
          expect(refused.code).toBe('QUEUE_FULL')
          expect(refused.message).toBe('Cannot publish "small": queue "small" is full, it has 3 deliveries (maxLength)')
          const bound = { exchange: 'x.small', routingKey: 'order.placed', type: 'order', payload: {} }
          await expect(posthaste.publish(tx, bound)).rejects.toThrow(QueueFull)
          const elsewhere = { ...bound, routingKey: 'other.placed' }
          expect((await posthaste.publish(tx, elsewhere)).duplicate).toBe(false)
          await expect(posthaste.publish(tx, [elsewhere, bound])).rejects.toThrow(QueueFull)
          expect((await tx.query('select 1 as one')).rows).toEqual([{ one: 1 }])
          return true
        }),
    )
    await route(db.pool)
    expect((await posthaste.queue('small.other').status()).depth).toBeGreaterThanOrEqual(1)
    expect(unaccounted(await posthaste.audit())).toEqual([])
  })

  test('takes messages again when there is room, and is known to processes that did not declare it', async () => {
    const { posthaste } = await full('room', 2)
    const stranger = service(db.url, defineTopology({ queues: {} }))
    const refused = (error: unknown) => error instanceof QueueFull
    const attempt = () => stranger.publish({ type: 'room', routingKey: 'room', payload: {} }).catch((error) => error)
    await until(async () => refused(await attempt()))
    await posthaste.queue('room').purge()
    await until(async () => !refused(await attempt()))
  })

  test('a publisher whose transaction has the only connection is not kept waiting', async () => {
    await full('narrow', 1)
    const topology = defineTopology({ queues: { narrow: { maxLength: 1, overflow: 'reject-publish' } } })
    const { posthaste, pool } = service(db.url, topology)
    pool.options.max = 1
    await pgDatabase(pool).transaction(async (tx) => {
      expect((await posthaste.publish(tx, { type: 'narrow', payload: {} })).duplicate).toBe(false)
    })
  })
})
