import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineTopology } from '../../src/index.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { Order, route, service } from './bench.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

const retry = { minMs: 1, maxMs: 1, maxAttempts: 3 }
const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: {
    billing: { retry, from: [{ exchange: 'orders', routingKey: 'order.#' }] },
    mail: { retry, from: [{ exchange: 'orders', routingKey: 'order.#' }] },
    ledger: { retry },
  },
})

test('a message is followed from its publishing through every attempt to what it caused', async () => {
  const { posthaste, publish } = service(db.url, topology)
  posthaste.consumer('billing').otherwise(async ({ attempt, payload }, { publish: send }) => {
    if (attempt === 1) throw new Error('the bank did not answer')
    await send({ type: 'booked', routingKey: 'ledger', payload })
  })
  posthaste.consumer('mail').otherwise((delivery) => {
    if (delivery.attempt === 2) return delivery.deadLetter('no address')
    throw new Error('no server')
  })
  posthaste.consumer('ledger').otherwise(() => {})
  await posthaste.start()
  const message = {
    type: 'order.placed',
    exchange: 'orders',
    routingKey: 'order.placed',
    payload: { n: 1 },
    key: 'k',
    correlationId: 'conversation',
  }
  const [published] = await publish(message)
  const trace = await until(async () => {
    const found = await posthaste.trace(published!.id)
    const done = found?.deliveries.map(({ state }) => state).join() === 'processed,dead'
    return done && found.children?.[0]?.deliveries[0]?.state === 'processed' ? found : undefined
  })
  expect(trace).toMatchObject({
    id: published!.id,
    routed: true,
    message: {
      type: 'order.placed',
      exchange: 'orders',
      key: 'k',
      correlationId: 'conversation',
      causationId: null,
      publishedAt: expect.any(Date),
    },
    deliveries: [
      {
        queue: 'billing',
        state: 'processed',
        at: expect.any(Date),
        history: [{ attempt: 1, message: 'the bank did not answer', at: expect.any(String) }],
      },
      {
        queue: 'mail',
        state: 'dead',
        reason: 'no address',
        attempts: 2,
        history: [{ message: 'no server' }, { name: 'DeadLetter' }],
      },
    ],
    processed: [{ consumer: 'billing', at: expect.any(Date) }],
    children: [
      {
        message: { type: 'booked', causationId: published!.id, correlationId: 'conversation' },
        deliveries: [{ queue: 'ledger', state: 'processed', history: [] }],
        children: [],
      },
    ],
  })
  expect((await posthaste.trace(published!.id, { depth: 0 }))!.children).toBeNull()
  const { stdout } = await cli(['trace', published!.id], { env: { DATABASE_URL: db.url } })
  expect(stdout).toContain('queue mail: dead')
  expect(stdout).toContain('1. ')
  expect(stdout).toMatch(/ {2}caused\n {4}booked /)
})

test('the operations on the outside that its handlers ran are told with it', async () => {
  await using own = await createDatabase()
  const { posthaste, publish } = service(
    own.url,
    defineTopology({ queues: { charges: { retry: { minMs: 1, maxMs: 1 } } } }),
  )
  posthaste
    .consumer('charges', { guarantee: 'at-least-once', batchSize: 1 })
    .otherwise(async ({ payload }, { complete }) => {
      const { order } = payload as { order: number }
      const charge = await posthaste.effects.run(`charge:${order}`, {
        request: { order },
        effect: 'idempotent',
        call: async () => ({ ok: true }),
      })
      if (charge.status !== 'succeeded') throw new Error(charge.status)
      await complete((tx) => charge.record(tx))
    })
  await posthaste.start()
  const [published] = await publish({ type: 'charges', payload: { order: 7 } })
  const trace = await until(async () => {
    const found = await posthaste.trace(published!.id)
    return found?.deliveries[0]?.state === 'processed' ? found : undefined
  })
  expect(trace.effects).toMatchObject([
    { operation: 'charge:7', state: 'succeeded', calls: 1, startedAt: expect.any(Date), endedAt: expect.any(Date) },
  ])
  const { stdout } = await cli(['trace', published!.id], { env: { DATABASE_URL: own.url } })
  expect(stdout).toMatch(/ {2}effect charge:7: succeeded \d{4}/)
})

test('where it waits is told: unrouted, ready, scheduled, leased, ended; and after a redrive what came before', async () => {
  const { posthaste, publish } = service(db.url, topology)
  await posthaste.declare()
  await posthaste.stop()
  const one = Order.create({ n: 1 }, { routingKey: 'ledger' })
  const { id } = (await publish(one))[0]!
  const stateOf = async () => (await posthaste.trace(id))!.deliveries.map(({ queue, state }) => `${queue} ${state}`)
  expect(await stateOf()).toEqual(['ledger unrouted'])
  expect((await posthaste.trace(id))!.routed).toBe(false)
  await route(db.pool)
  expect(await stateOf()).toEqual(['ledger ready'])
  const queue = posthaste.queue('ledger')
  const [delivery] = await queue.receive()
  expect(await stateOf()).toEqual(['ledger leased'])
  await delivery!.retry({ delayMs: 60_000 })
  expect(await posthaste.trace(id)).toMatchObject({
    deliveries: [{ state: 'scheduled', attempts: 1, history: [{ name: 'Retry' }] }],
  })
  await db.pool.query('update posthaste.scheduled set due_at = clock_timestamp() where message_id = $1', [id])
  await route(db.pool)
  const [again] = await queue.receive()
  await again!.deadLetter('bad')
  await queue.deadLetters.redrive({ queue: 'ledger' }, { by: 'ada' })
  await route(db.pool)
  const [last] = await queue.receive()
  await last!.discard('enough')
  const trace = (await posthaste.trace(id))!
  expect(trace.deliveries).toMatchObject([{ queue: 'ledger', state: 'ended' }])
  expect(trace.deliveries[0]!.history.map(({ message }) => message)).toEqual([
    'the handler asked for another attempt',
    'bad',
    expect.stringContaining('redriven by ada'),
  ])
})

test('what the log holds no more is told from the dead letter, and an unknown id is unknown', async () => {
  const { posthaste, publish } = service(db.url, topology)
  await posthaste.declare()
  const [published] = await publish(Order.create({ n: 1 }, { routingKey: 'ledger' }))
  await route(db.pool)
  const [delivery] = await posthaste.queue('ledger').receive()
  await delivery!.deadLetter('gone')
  await db.pool.query('delete from posthaste.outbox where message_id = $1', [published!.id])
  expect(await posthaste.trace(published!.id)).toMatchObject({
    message: { type: 'order.placed' },
    deliveries: [{ state: 'dead' }],
  })
  expect(await posthaste.trace(randomUUID())).toBeUndefined()
  await expect(posthaste.trace('42')).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  expect(await cli(['trace', randomUUID()], { env: { DATABASE_URL: db.url } })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('nothing is known of it'),
  })
})

test('a message is found wherever it lies in the log, by its time or without', async () => {
  await using own = await createDatabase()
  const { posthaste } = service(own.url, topology)
  await posthaste.declare()
  await own.pool.query(`
    insert into posthaste.outbox (message_id, exchange, routing_key, type, payload, published_at)
    select case when n % 3 = 0 then gen_random_uuid() else overlay(posthaste.uuid_v7()::text placing
             substr(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 1, 8) || '-' || substr(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 9, 4)
             from 1 for 13)::uuid end,
           '', 'nowhere', 't', '{}', at + case n % 5 when 0 then interval '8 minutes' when 1 then interval '20 hours' else interval '0' end
    from generate_series(1, 3000) n cross join lateral (select clock_timestamp() - interval '6 days' + n * interval '2 minutes' as at) t`)
  const { rows } = await own.pool.query('select id, message_id from posthaste.outbox where id % 29 = 0')
  for (const { id, message_id } of rows) {
    const found = await own.pool.query('select posthaste.find_message($1) as id', [message_id])
    expect(found.rows).toEqual([{ id }])
  }
})

test('attempts are forgotten with the log', async () => {
  await db.pool.query(
    `insert into posthaste.attempts select gen_random_uuid(), 1, 1, '{}', clock_timestamp() - n * interval '1 day' from generate_series(1, 10) n`,
  )
  expect((await db.pool.query('select posthaste.trim_attempts(86400000 * 5.5) as done')).rows).toEqual([{ done: true }])
  expect((await db.pool.query(`select count(*)::int as n from posthaste.attempts where fact = '{}'`)).rows).toEqual([
    { n: 5 },
  ])
})
