import { Kysely, PostgresDialect, sql } from 'kysely'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { ExactlyOnceContext } from '../../src/consumer.ts'
import type { Database } from '../../src/database.ts'
import { kyselyDatabase } from '../../src/databases/kysely.ts'
import { NonRetryable } from '../../src/errors.ts'
import { defineMessage } from '../../src/rules/contract.ts'
import type { Delivery } from '../../src/rules/delivery.ts'
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
  type Numbered,
  processOn,
  publish,
  publishReady,
  type TestQueue,
} from './bench.ts'

const EMPTY = { ready: 0, scheduled: 0, leased: 0, dead: 0 }

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

const takeEffect = (queue: TestQueue, { id, payload }: Delivery, tx: pg.PoolClient) =>
  tx.query(EFFECT, [queue.name, id, (payload as Numbered).n])

test('every message takes effect once, with four transactions at a time', async () => {
  const queue = await makeQueue(db.pool)
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { concurrency: 4 })
    .otherwise(async (delivery, { tx }) => void (await takeEffect(queue, delivery, tx)))
    .start()
  const ids = await publish(db.pool, queue, 300)
  await drained(db.pool, queue, 300)

  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
  await until(() => told('completed').length === 300)
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})

test('a message that is delivered again takes no second effect', async () => {
  const queue = await makeQueue(db.pool)
  const [id] = await publishReady(db.pool, queue, 1)
  await db.pool.query(
    'insert into posthaste.ready (queue, priority, message, message_id) select queue, priority, message, message_id from posthaste.ready, generate_series(1, 3) where queue = $1',
    [queue.number],
  )
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { concurrency: 3, batchSize: 2 })
    .otherwise(async (delivery, { tx }) => void (await takeEffect(queue, delivery, tx)))
    .start()
  await drained(db.pool, queue, 4)

  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[id, 1]]))
  await until(() => told('completed').length === 4)
  expect(told('completed').filter(({ duplicate }) => duplicate)).toHaveLength(3)
  expect(told('attempt-started')).toHaveLength(1)
})

describe.each([1, 10])('in batches of %i', (batchSize) => {
  test('a failed attempt is recorded with its claim, leaves no effect, and its neighbours are committed (C-3)', async () => {
    const queue = await makeQueue(db.pool, { retry: { maxAttempts: 2 } })
    const ids = await publishReady(db.pool, queue, 10)
    const { consumer, told } = processOn(db.url)
    await consumer(queue, { concurrency: 1, batchSize })
      .otherwise(async (delivery, { tx }) => {
        await takeEffect(queue, delivery, tx)
        if ((delivery.payload as Numbered).n === 4) throw new Error(`attempt ${delivery.attempt} went wrong`)
      })
      .start()
    await drained(db.pool, queue, 10)

    const effects = await effectsOf(db.pool, queue)
    expect(effects).toEqual(new Map(ids.filter((_, n) => n !== 4).map((id) => [id, 1])))
    const [letter] = await deadLettersOf(db.pool, queue)
    expect(letter).toMatchObject({
      message_id: ids[4],
      reason: 'max-attempts',
      attempts: 2,
      crashes: 0,
      payload: { n: 4 },
    })
    expect(letter!.history).toMatchObject([
      { attempt: 1, name: 'Error', message: 'attempt 1 went wrong' },
      { attempt: 2, name: 'Error', message: 'attempt 2 went wrong' },
    ])
    const times = letter!.history.map(({ at }: { at: string }) => at)
    for (const at of times) expect(at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(await inboxOf(db.pool, queue)).toEqual(new Set(ids.filter((_, n) => n !== 4)))
    await until(() => told('completed').length === 9 && told('dead-lettered').length === 1)
    expect(told('retried')).toMatchObject([
      { messageId: ids[4], attempt: 1, error: { message: 'attempt 1 went wrong' } },
    ])
    expect(told('dead-lettered')).toMatchObject([{ messageId: ids[4], attempt: 2, reason: 'max-attempts' }])
  })

  test('an SQL error that a handler swallows fails its attempt and no other (C-4)', async () => {
    const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
    const ids = await publishReady(db.pool, queue, 10)
    const { consumer } = processOn(db.url)
    await consumer(queue, { concurrency: 1, batchSize })
      .otherwise(async (delivery, { tx }) => {
        await takeEffect(queue, delivery, tx)
        const { n } = delivery.payload as Numbered
        if (n === 3 || n === 9) await tx.query('select 1 / 0').catch(() => {})
      })
      .start()
    await drained(db.pool, queue, 10)

    expect((await effectsOf(db.pool, queue)).size).toBe(8)
    const letters = await deadLettersOf(db.pool, queue)
    expect(new Set(letters.map(({ message_id }) => message_id))).toEqual(new Set([ids[3], ids[9]]))
    expect(letters.map(({ history }) => history[0]?.code)).toEqual(['SWALLOWED_SQL_ERROR', 'SWALLOWED_SQL_ERROR'])
  })

  test('with Kysely too, an SQL error that a handler swallows fails its attempt and no other', async () => {
    const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
    await publishReady(db.pool, queue, 10)
    const kysely = (pool: pg.Pool) =>
      kyselyDatabase(new Kysely<object>({ dialect: new PostgresDialect({ pool }) }), { pool })
    type Tx = ReturnType<typeof kysely> extends Database<infer T> ? T : never
    const { consumer } = processOn<Tx>(db.url, { database: kysely })
    await consumer(queue, { concurrency: 1, batchSize })
      .otherwise(async ({ id, payload }, { tx }) => {
        const { n } = payload as Numbered
        await sql`insert into effects (queue, message_id, n) values (${queue.name}, ${id}, ${n})`.execute(tx)
        if (n === 3 || n === 9) await sql`select 1 / 0`.execute(tx).catch(() => {})
      })
      .start()
    await drained(db.pool, queue, 10)

    expect((await effectsOf(db.pool, queue)).size).toBe(8)
    const letters = await deadLettersOf(db.pool, queue)
    expect(letters.map(({ history }) => history[0]?.code)).toEqual(['SWALLOWED_SQL_ERROR', 'SWALLOWED_SQL_ERROR'])
  })

  test('a write that a handler does not wait for is part of its attempt or does not happen', async () => {
    const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
    const ids = await publishReady(db.pool, queue, 5)
    const late: Promise<unknown>[] = []
    const { consumer } = processOn(db.url)
    await consumer(queue, { concurrency: 1, batchSize })
      .otherwise(async (delivery, { tx }) => {
        await takeEffect(queue, delivery, tx)
        late.push(new Promise((resolve) => setTimeout(resolve, 20)).then(() => takeEffect(queue, delivery, tx)))
        late.at(-1)!.catch(() => {})
      })
      .start()
    await drained(db.pool, queue, 5)

    const refused = await Promise.allSettled(late)
    expect(refused.map(({ status }) => status)).toEqual(Array(5).fill('rejected'))
    expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
  })
})

test('maxAttempts 1 runs once', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  await publish(db.pool, queue, 1)
  let calls = 0
  const { consumer } = processOn(db.url)
  await consumer(queue)
    .otherwise(() => {
      calls += 1
      throw new Error('no')
    })
    .start()
  await drained(db.pool, queue, 1)
  expect(calls).toBe(1)
  expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ reason: 'max-attempts', attempts: 1 }])
})

test('attempts come with their number and the errors before, until one succeeds', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 5 } })
  const [id] = await publish(db.pool, queue, 1)
  const seen: unknown[] = []
  const { consumer } = processOn(db.url)
  await consumer(queue)
    .otherwise(async (delivery, { tx }) => {
      seen.push([delivery.attempt, delivery.redelivered, delivery.errors.map(({ message }) => message)])
      await takeEffect(queue, delivery, tx)
      if (delivery.attempt < 3) throw new Error(`failure ${delivery.attempt}`)
    })
    .start()
  await drained(db.pool, queue, 1)
  expect(seen).toEqual([
    [1, false, []],
    [2, true, ['failure 1']],
    [3, true, ['failure 1', 'failure 2']],
  ])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[id, 1]]))
})

test('whatever is thrown is recorded, and the next message is not affected', async () => {
  const thrown = [
    undefined,
    null,
    'text',
    0,
    Object.freeze({ code: 'X' }),
    new Proxy(
      {},
      {
        get: () => {
          throw new Error('trap')
        },
      },
    ),
    new AggregateError([new Error('inner')]),
    new Error('x'.repeat(10_000_000)),
  ]
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  await publishReady(db.pool, queue, thrown.length + 1)
  const { consumer } = processOn(db.url)
  await consumer(queue, { concurrency: 1, batchSize: 20 })
    .otherwise(async ({ payload }) => {
      const { n } = payload as Numbered
      if (n < thrown.length) throw thrown[n]
    })
    .start()
  await drained(db.pool, queue, thrown.length + 1)
  const letters = await deadLettersOf(db.pool, queue)
  expect(letters).toHaveLength(thrown.length)
  expect(letters.every(({ history }) => history[0]!.message.length <= 500)).toBe(true)
})

describe('what a handler answers', () => {
  const once = async (
    handler: (delivery: Delivery, context: ExactlyOnceContext<pg.PoolClient>) => unknown,
    maxAttempts = 3,
  ) => {
    const queue = await makeQueue(db.pool, { retry: { maxAttempts } })
    const [id] = await publish(db.pool, queue, 1)
    const process = processOn(db.url)
    await process
      .consumer(queue)
      .otherwise(handler as never)
      .start()
    await drained(db.pool, queue, 1)
    return { queue, id, ...process }
  }

  test('retry: attempted again, and the effects of this attempt are rolled back', async () => {
    let calls = 0
    const { queue, id } = await once(async (delivery, { tx }) => {
      calls += 1
      await tx.query(EFFECT, ['retry', delivery.id, 0])
      return delivery.attempt === 1 ? delivery.retry({ delayMs: 5 }) : undefined
    })
    expect(calls).toBe(2)
    const { rows } = await db.pool.query('select count(*)::int as n from effects where message_id = $1', [id])
    expect(rows[0].n).toBe(1)
    expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
  })

  test('retry on the last attempt: a dead letter', async () => {
    const { queue } = await once((delivery) => delivery.retry({ delayMs: 1 }), 2)
    expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ reason: 'max-attempts', attempts: 2 }])
  })

  test('deadLetter: kept with its reason, without effects', async () => {
    const { queue, id } = await once(async (delivery, { tx }) => {
      await tx.query(EFFECT, ['dead', delivery.id, 0])
      return delivery.deadLetter('unknown customer')
    })
    expect(await deadLettersOf(db.pool, queue)).toMatchObject([
      { message_id: id, reason: 'unknown customer', attempts: 1 },
    ])
    const { rows } = await db.pool.query('select from effects where message_id = $1', [id])
    expect(rows).toEqual([])
    expect(await inboxOf(db.pool, queue)).toEqual(new Set())
  })

  test('discard: done with, and counted', async () => {
    const { queue, told } = await once((delivery) => delivery.discard('too small to matter'))
    expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
    await until(() => told('discarded').length === 1)
    expect(told('discarded')).toMatchObject([{ reason: 'too small to matter' }])
  })

  test('an outcome that was made and not returned fails the attempt', async () => {
    const { queue } = await once((delivery) => void delivery.retry(), 1)
    expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ history: [{ code: 'OUTCOME_NOT_RETURNED' }] }])
  })

  test('NonRetryable ends the delivery, whatever attempts were left', async () => {
    const { queue } = await once(() => {
      throw new NonRetryable('the bank refuses')
    })
    expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ reason: 'non-retryable', attempts: 1 }])
  })

  test('COMMIT is refused to it', async () => {
    const { queue } = await once(async (_, { tx }) => void (await tx.query('commit')), 1)
    expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ history: [{ code: 'TRANSACTION_CONTROL_REFUSED' }] }])
  })
})

describe('what no handler can change', () => {
  const Order = defineMessage('order.checked', z.object({ n: z.int() }), {
    version: 2,
    upcast: { 1: (old) => ({ n: old.count }) },
  })

  test('a payload that does not fit its contract is a dead letter at once; an earlier version is brought up', async () => {
    const queue = await makeQueue(db.pool, { newerVersions: 'dead-letter' })
    const ids = await publishReady(db.pool, queue, 4, (n) => ({
      type: Order.name,
      ...[
        { version: 2, payload: { n: 1 } },
        { version: 2, payload: { n: '4111 1111 1111 1111' } },
        { version: 1, payload: { count: 7 } },
        { version: 3, payload: { n: 1 } },
      ][n],
    }))
    const seen: number[] = []
    const { consumer } = processOn(db.url)
    await consumer(queue, { batchSize: 4 })
      .on(Order, async ({ payload }) => void seen.push(payload.n))
      .start()
    await drained(db.pool, queue, 4)
    expect(seen.toSorted()).toEqual([1, 7])
    const letters = await deadLettersOf(db.pool, queue)
    expect(letters.map(({ message_id, reason, attempts }) => [message_id, reason, attempts])).toEqual([
      [ids[1], 'invalid-payload', 0],
      [ids[3], 'unknown-version', 0],
    ])
    expect(JSON.stringify(letters.map(({ history }) => history))).not.toContain('4111')
  })

  test('a type nobody handles is a dead letter', async () => {
    const queue = await makeQueue(db.pool)
    await publish(db.pool, queue, 1, () => ({ type: 'never.heard.of' }))
    const { consumer } = processOn(db.url)
    await consumer(queue)
      .on(Order, () => {})
      .start()
    await drained(db.pool, queue, 1)
    expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ reason: 'unknown-type', type: 'never.heard.of' }])
  })

  test('a body that the log has lost is a dead letter LOG_MISSING', async () => {
    const queue = await makeQueue(db.pool)
    const ids = await publishReady(db.pool, queue, 3)
    await db.pool.query('delete from posthaste.outbox where message_id = $1', [ids[1]])
    const { consumer } = processOn(db.url)
    await consumer(queue, { batchSize: 3 })
      .otherwise(() => {})
      .start()
    await drained(db.pool, queue, 3)
    expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ message_id: ids[1], reason: 'LOG_MISSING' }])
  })

  test('what has expired is not attempted', async () => {
    const queue = await makeQueue(db.pool)
    const ids = await publishReady(db.pool, queue, 2, (n) => (n === 0 ? { expiresInMs: 1 } : {}))
    const { consumer, told } = processOn(db.url)
    await consumer(queue)
      .otherwise(() => {})
      .start()
    await drained(db.pool, queue, 2)
    await until(() => told('expired').length === 1)
    expect(told('attempt-started').map(({ messageId }) => messageId)).toEqual([ids[1]])
  })
})

test('what a handler publishes is committed with its effect, and continues the conversation', async () => {
  const [first, second] = [await makeQueue(db.pool, { retry: { maxAttempts: 2 } }), await makeQueue(db.pool)]
  const { consumer } = processOn(db.url)
  const seen: Delivery[] = []
  await consumer(second)
    .otherwise((delivery) => void seen.push(delivery))
    .start()
  await consumer(first)
    .otherwise(async (delivery, { publish: send }) => {
      await send({ type: 'answer', routingKey: second.name, payload: { attempt: delivery.attempt } })
      if (delivery.attempt === 1) throw new Error('not yet')
    })
    .start()
  const [id] = await publish(db.pool, first, 1, () => ({ correlationId: 'talk' }))
  await drained(db.pool, second, 1)
  expect(seen.map(({ payload, correlationId, causationId }) => ({ payload, correlationId, causationId }))).toEqual([
    { payload: { attempt: 2 }, correlationId: 'talk', causationId: id },
  ])
})

test('urgent messages come first, and bytes come out as they went in', async () => {
  const queue = await makeQueue(db.pool)
  const ids = await publishReady(db.pool, queue, 3, (n) => ({ priority: [0, 9, 5][n]! }))
  const seen: string[] = []
  const { consumer } = processOn(db.url)
  await consumer(queue, { concurrency: 1, batchSize: 1 })
    .otherwise(({ id }) => void seen.push(id))
    .start()
  await drained(db.pool, queue, 3)
  expect(seen).toEqual([ids[1], ids[2], ids[0]])
})

test('a batch is worked off in the order of its keys, and of age within one: all batches lock rows in one order', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 6, (n) => ({ key: ['c', 'a', 'b', 'a', 'c', 'b'][n] }))
  const seen: unknown[] = []
  const { consumer } = processOn(db.url)
  await consumer(queue, { concurrency: 1, batchSize: 6 })
    .otherwise(({ key, payload }) => void seen.push([key, (payload as Numbered).n]))
    .start()
  await drained(db.pool, queue, 6)
  expect(seen).toEqual([
    ['a', 1],
    ['a', 3],
    ['b', 2],
    ['b', 5],
    ['c', 0],
    ['c', 4],
  ])
})
