import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { ClaimLoop } from '../../src/consumer/claim-loop.ts'
import { Consumer, type ConsumerOptions } from '../../src/consumer.ts'
import { UnknownHandlerContract } from '../../src/errors.ts'
import { defineMessage } from '../../src/rules/contract.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import {
  accountOf,
  drained,
  EFFECT,
  effectsOf,
  endsOf,
  gate,
  makeQueue,
  type Numbered,
  processOn,
  publish,
  publishReady,
} from './bench.ts'

const Order = defineMessage('order.placed', z.object({ n: z.int() }))

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

test('stop waits for the handlers under way, and begins nothing new', async () => {
  const queue = await makeQueue(db.pool)
  const ids = await publishReady(db.pool, queue, 6)
  const begun = gate()
  const finish = gate()
  const { consumer, told } = processOn(db.url)
  const stopping = consumer(queue, { concurrency: 1, batchSize: 3 }).otherwise(async ({ id, payload }, { tx }) => {
    begun.open()
    await finish.opened
    await tx.query(EFFECT, [queue.name, id, (payload as Numbered).n])
  })
  await stopping.start()
  await begun.opened
  const stopped = stopping.stop()
  finish.open()
  await stopped
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[ids[0], 1]]))
  const { ready, scheduled } = await accountOf(db.pool, queue)
  expect(ready + scheduled).toBe(5)
  expect(told('consumer-stopped')).toMatchObject([{ unfinished: 0 }])
  expect(told('attempt-started')).toHaveLength(1)
})

test('at the deadline signals fire, and a handler that ends then is committed', async () => {
  const queue = await makeQueue(db.pool)
  const ids = await publishReady(db.pool, queue, 1)
  const begun = gate()
  const { consumer, told } = processOn(db.url)
  const stopping = consumer(queue).otherwise(async ({ id }, { tx, signal }) => {
    begun.open()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    expect(signal.reason).toMatchObject({ code: 'STOPPED' })
    await tx.query(EFFECT, [queue.name, id, 0])
  })
  await stopping.start()
  await begun.opened
  await stopping.stop({ timeoutMs: 0 })
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[ids[0], 1]]))
  expect(told('consumer-stopped')).toMatchObject([{ unfinished: 1 }])
})

test('a handler that does not heed its signal loses its transaction, and its delivery goes back without an attempt', async () => {
  const queue = await makeQueue(db.pool)
  const ids = await publishReady(db.pool, queue, 2)
  const begun = gate()
  const { consumer, told } = processOn(db.url)
  const stopping = consumer(queue, { concurrency: 1, batchSize: 2 }).otherwise(async ({ id }, { tx }) => {
    await tx.query(EFFECT, [queue.name, id, 0])
    begun.open()
    await gate().opened
  })
  await stopping.start()
  await begun.opened
  await stopping.stop({ timeoutMs: 0 })
  expect(await effectsOf(db.pool, queue)).toEqual(new Map())
  const { rows } = await db.pool.query(
    'select message_id, attempts, crashes, xmax::text from posthaste.ready where queue = $1 order by position',
    [queue.number],
  )
  expect(rows).toEqual(ids.map((id) => ({ message_id: id, attempts: 0, crashes: 0, xmax: '0' })))
  expect(told('retried')).toEqual([])
})

test('a handler that fails because it was told to stop uses no attempt', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  await publishReady(db.pool, queue, 1)
  const begun = gate()
  const { consumer } = processOn(db.url)
  const stopping = consumer(queue).otherwise((_, { signal }) => {
    begun.open()
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  })
  await stopping.start()
  await begun.opened
  await stopping.stop({ timeoutMs: 0 })
  const { ready, scheduled, dead } = await accountOf(db.pool, queue)
  expect({ waiting: ready + scheduled, dead }).toEqual({ waiting: 1, dead: 0 })
})

test('start and stop, twice, at once, in any order', async () => {
  const queue = await makeQueue(db.pool)
  const { consumer, told } = processOn(db.url)
  const restless = consumer(queue).otherwise(() => {})
  await restless.stop()
  await Promise.all([restless.start(), restless.start()])
  await Promise.all([restless.stop(), restless.stop(), restless.stop()])
  const restarting = restless.start()
  await restarting
  expect(told('consumer-started')).toHaveLength(2)
  await publish(db.pool, queue, 3)
  await drained(db.pool, queue, 3)
  await restless[Symbol.asyncDispose]()
  await restless.stop()
  expect(told('consumer-stopped')).toHaveLength(2)
})

test('a handler may stop its consumer', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 3)
  const { consumer, told } = processOn(db.url)
  const own = consumer(queue, { concurrency: 1, batchSize: 1 }).otherwise(async () => await own.stop())
  await own.start()
  await until(() => told('consumer-stopped').length === 1)
  expect(await endsOf(db.pool, queue)).toBe(1)
  expect(told('consumer-stopped')).toMatchObject([{ unfinished: 0 }])
})

test('a contract has one handler, named before the start', async () => {
  const queue = await makeQueue(db.pool)
  const { consumer } = processOn(db.url)
  const made = consumer(queue).on(Order, () => {})
  expect(() => made.on(Order, () => {})).toThrow(expect.objectContaining({ code: 'DUPLICATE_HANDLER' }))
  await made.start()
  expect(() => made.otherwise(() => {})).toThrow(expect.objectContaining({ code: 'ALREADY_STARTED' }))
})

test('a consumer that starts while the others are looked at is not taken for one whose queue is gone', async () => {
  const queues = await Promise.all(Array.from({ length: 10 }, () => makeQueue(db.pool)))
  const { consumer, claims, told } = processOn(db.url, { relay: false })
  await Promise.all(
    queues.map(async (queue) => {
      claims.look()
      await consumer(queue)
        .otherwise(() => {})
        .start()
      claims.look()
    }),
  )
  expect(told('paused')).toEqual([])
})

test('a handler for what no binding can bring is refused at the start', async () => {
  const queue = await makeQueue(db.pool)
  const { context, outbox } = processOn(db.url)
  const admit = ({ name }: { name: string }) => {
    throw new UnknownHandlerContract(queue.name, name)
  }
  const place = { context, outbox, claims: new ClaimLoop(context), queue, number: async () => queue.number, admit }
  const consumer = new Consumer(place).on(Order, () => {})
  await expect(consumer.start()).rejects.toMatchObject({ code: 'UNKNOWN_HANDLER_CONTRACT' })
})

test('an option nobody reads is refused, with the one that was meant', async () => {
  const queue = await makeQueue(db.pool)
  const { consumer } = processOn(db.url)
  expect(() => consumer(queue, { concurency: 3 } as ConsumerOptions<'exactly-once-effects'>)).toThrow(
    'did you mean "concurrency"?',
  )
  expect(() => consumer(queue, { batchSize: 51 })).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
})

test('a consumer that is idle asks for nothing but one poll every two seconds', async () => {
  const queues = await Promise.all(Array.from({ length: 5 }, () => makeQueue(db.pool)))
  const { consumer, pool, context } = processOn(db.url, { relay: false })
  for (const queue of queues)
    await consumer(queue)
      .otherwise(() => {})
      .start()
  await until(() => context.listener.healthy)
  const asked: number[] = []
  pool.on('acquire', () => asked.push(performance.now()))
  const since = performance.now()
  const inFourSeconds = () => asked.filter((at) => at > performance.now() - 4_000).length
  // what it has to do at its start, and once more after, is over sooner or later
  await until(() => performance.now() > since + 4_000 && inFourSeconds() <= 3, { timeoutMs: 16_000 })
})

test('a process that dies with a connection pool that has ended does not spin', async () => {
  const queue = await makeQueue(db.pool)
  const { consumer, pool, told } = processOn(db.url, { relay: false })
  const made = consumer(queue).otherwise(() => {})
  await made.start()
  // what waits for a connection while the pool ends is never answered by pg
  await until(() => pool.waitingCount === 0 && pool.idleCount === pool.totalCount)
  await pool.end()
  await publishReady(db.pool, queue, 1)
  await until(() => told('error').length > 0)
  expect(told('error').length).toBeLessThan(20)
  await made.stop()
})
