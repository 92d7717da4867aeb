import { AssertionError } from 'node:assert'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { createTestDatabase, type TestDatabase, type TestKit, testKit } from '../../src/testing.ts'

const OrderPlaced = defineMessage(
  'order.placed',
  z.object({ orderId: z.string(), cents: z.int(), at: z.coerce.date() }),
  {
    exchange: 'orders',
    key: ({ orderId }) => orderId,
  },
)
const OrderPaid = defineMessage('order.paid', z.object({ orderId: z.string() }), { exchange: 'orders' })
const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: {
    billing: { from: [OrderPlaced], retry: { maxAttempts: 3, minMs: 60_000, maxMs: 60_000, jitter: 'none' } },
    mail: { from: [OrderPaid] },
  },
})
const order = (orderId: string) => OrderPlaced.create({ orderId, cents: 5, at: '2026-01-01T00:00:00.000Z' })

const prepare = async (url: string) => {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('create table charges (order_id text primary key)')
  await client.end()
}

let database: TestDatabase
let posthaste: Posthaste<import('pg').PoolClient, 'billing' | 'mail'>
let kit: TestKit<'billing' | 'mail'>
let fails: number
let paid: string[]

beforeEach(async () => {
  database = await createTestDatabase({ url: inject('server').url, prepare })
  posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
  kit = testKit(posthaste)
  fails = 0
  paid = []
  posthaste.consumer('billing').on(OrderPlaced, async (delivery, { tx, publish }) => {
    const { orderId } = delivery.payload
    if (orderId === 'refused') return delivery.deadLetter('refused')
    if (orderId === 'dropped') return delivery.discard('dropped')
    if (fails-- > 0) throw new Error('no bank today')
    await tx.query('insert into charges values ($1)', [orderId])
    await publish(OrderPaid.create({ orderId }))
    return undefined
  })
  posthaste.consumer('mail').on(OrderPaid, async ({ payload }) => void paid.push(payload.orderId))
  await posthaste.declare()
})
afterEach(async () => {
  await posthaste.stop()
  await database.drop()
})

const publish = (...orders: string[]) =>
  pgDatabase(database.pool).transaction((tx) => posthaste.publish(tx, orders.map(order)))
const charges = async () =>
  (await database.pool.query('select order_id from charges order by 1')).rows.map((row) => row.order_id)

describe('a database per test', () => {
  test('has the schema and what was prepared, and nothing of another test', async () => {
    expect((await database.pool.query('select * from posthaste.outbox')).rows).toEqual([])
    expect(await charges()).toEqual([])
  })

  test('is there in some 30 ms once the template is made', async () => {
    const startedAt = performance.now()
    await using other = await createTestDatabase({ url: inject('server').url, prepare })
    await other.pool.query('select 1 from charges')
    // A hundred times the usual, for machines that do something else as well: migrating anew would take longer still there.
    expect(performance.now() - startedAt).toBeLessThan(3_000)
  })

  test('made by ten at once is made from one template', async () => {
    let prepared = 0
    const once = () => {
      prepared += 1
    }
    const made = await Promise.all(
      Array.from({ length: 10 }, () => createTestDatabase({ url: inject('server').url, prepare: once })),
    )
    expect(prepared).toBe(1)
    await Promise.all(made.map((each) => each.drop()))
  })
})

describe('expectPublished', () => {
  test('finds what is committed, with the payload as handlers get it', async () => {
    await publish('1', '2')
    const found = await kit.expectPublished(OrderPlaced, { orderId: '2' })
    expect(found).toMatchObject({ key: '2', exchange: 'orders', payload: { at: new Date('2026-01-01') } })
    await kit.expectPublished(OrderPlaced, { orderId: /^\d$/ as never }, { count: 2 })
    await kit.expectPublished(OrderPlaced, ({ cents }) => cents === 5, {
      count: 2,
      message: { routingKey: 'order.placed' },
    })
    await kit.expectPublished(OrderPlaced, { at: expect.any(Date) }, { message: { key: '1' }, count: 1 })
    await kit.expectNotPublished(OrderPaid)
  })

  test('tells what was published instead', async () => {
    await publish('1')
    const failure = await kit.expectPublished(OrderPlaced, { orderId: '7' }).catch((error) => error)
    expect(failure).toBeInstanceOf(AssertionError)
    expect(failure.message).toBe('Expected one published "order.placed" with {"orderId":"7"}: 0 of 1 match')
    expect(failure.actual).toMatchObject([{ payload: { orderId: '1' }, key: '1' }])
    await expect(kit.expectNotPublished(OrderPlaced, { orderId: '1' })).rejects.toThrow('1 of 1 match')
  })

  test('sees what a transaction that is still open has published only with its eyes', async () => {
    const client = await database.pool.connect()
    await client.query('begin')
    await posthaste.publish(client, order('1'))
    await kit.expectNotPublished(OrderPlaced)
    await kit.expectPublished(OrderPlaced, { orderId: '1' }, { tx: client })
    await client.query('rollback')
    client.release()
    await kit.expectNotPublished(OrderPlaced)
  })
})

describe('drain', () => {
  test('works off everything, what handlers publish included, and leaves nothing running', async () => {
    await publish('1', '2', 'dropped')
    expect(await kit.drain({ strict: true })).toEqual({
      completed: 4,
      duplicates: 0,
      retried: 0,
      deadLettered: 0,
      discarded: 1,
      expired: 0,
      failures: [],
    })
    expect(await charges()).toEqual(['1', '2'])
    expect(paid.sort()).toEqual(['1', '2'])
    const { rows } = await database.pool.query(
      `select 1 from pg_stat_activity where datname = current_database() and application_name like 'posthaste%'`,
    )
    expect(rows).toEqual([])
  })

  test('tells of failures, and throws them when it is strict', async () => {
    fails = 1
    await publish('1')
    await expect(kit.drain({ strict: true })).rejects.toThrow(
      'order.placed in "billing", attempt 1: Error: no bank today',
    )
    expect(await kit.drain()).toMatchObject({ completed: 0, retried: 0 })
  })

  test('goes on to retries and delays when it may move the clock', async () => {
    fails = 2
    await publish('1', 'refused')
    const { completed, retried, deadLettered } = await kit.drain({ scheduled: true })
    expect({ completed, retried, deadLettered }).toEqual({ completed: 2, retried: 2, deadLettered: 1 })
    expect((await kit.clock.now()).getTime()).toBeGreaterThan(Date.now() + 110_000)
  })

  test('waits for one that runs until it has come to rest', async () => {
    await posthaste.start()
    await publish('1', '2')
    expect(await kit.drain()).toMatchObject({ completed: 4 })
    expect(await charges()).toEqual(['1', '2'])
  })
})

test('relay.runOnce routes what is committed, and makes ready what is due', async () => {
  await publish('1', '2')
  expect(await kit.relay.runOnce()).toEqual({ routed: 2, promoted: 0 })
  expect(await kit.relay.runOnce()).toEqual({ routed: 0, promoted: 0 })
  expect(await posthaste.queue('billing').peek()).toHaveLength(2)
})

test('deliver gives one message to one handler, and tells what became of it', async () => {
  expect(await kit.deliver('billing', order('1'))).toEqual({ outcome: 'completed', duplicate: false })
  expect(await kit.deliver('billing', order('refused'))).toMatchObject({ outcome: 'dead-lettered', reason: 'refused' })
  expect(await kit.deliver('billing', order('dropped'))).toMatchObject({ outcome: 'discarded', reason: 'dropped' })
  fails = 1
  expect(await kit.deliver('billing', order('2'))).toMatchObject({
    outcome: 'retried',
    delayMs: 60_000,
    error: { message: 'no bank today' },
  })
  await expect(kit.deliver('biling' as never, order('3'))).rejects.toThrow('this Posthaste has no consumer of it')
})

describe('the clock of the database', () => {
  test('moves what is due, what lapses and what expires, in everything the schema does', async () => {
    await pgDatabase(database.pool).transaction(async (tx) => {
      await posthaste.publish(tx, order('late'), { delayMs: 3_600_000 })
      await posthaste.publish(tx, order('gone'), { delayMs: 3_600_000, expiresInMs: 60_000 })
    })
    expect(await kit.drain()).toMatchObject({ completed: 0, expired: 0 })
    await kit.clock.advance({ hours: 1, seconds: 1 })
    expect(await kit.drain()).toMatchObject({ completed: 2, expired: 1 })

    await publish('leased')
    await kit.relay.runOnce()
    await database.pool.query(`select * from posthaste.receive('billing', 1, '10 minutes')`)
    expect(await kit.drain()).toMatchObject({ completed: 0 })
    await kit.clock.advance({ minutes: 11 })
    expect(await kit.drain()).toMatchObject({ completed: 2 })
    expect(await charges()).toEqual(['late', 'leased'])
  })

  test('dates what it dates: messages, the history of attempts, dead letters', async () => {
    const then = new Date('2031-01-01T12:00:00.000Z')
    await kit.clock.freeze(then)
    fails = 1
    await publish('1', 'refused')
    await kit.drain()
    expect((await kit.published(OrderPlaced)).map(({ publishedAt }) => publishedAt)).toEqual([then, then])
    const [letter] = await posthaste.deadLetters.list()
    expect(letter).toMatchObject({ deadAt: then, history: [{ at: then.toISOString() }] })
    await kit.clock.advance({ days: 1 })
    await kit.clock.thaw()
    expect((await kit.clock.now()).getTime()).toBeGreaterThanOrEqual(then.getTime() + 86_400_000)
  })

  test('is the one clock of the schema: nothing in it asks another', async () => {
    const { rows } = await database.pool.query(
      `select proname from pg_proc
       where pronamespace = 'posthaste'::regnamespace and proname <> 'test_clock'
         and prosrc ~* '\\m(now\\(\\)|clock_timestamp|statement_timestamp|transaction_timestamp|current_timestamp|current_date|localtimestamp)'
         and prosrc !~ 'test_clock'`,
    )
    expect(rows).toEqual([])
    const defaults = await database.pool.query(
      `select adrelid::regclass::text as table from pg_attrdef
       where pg_get_expr(adbin, adrelid) ~* 'clock_timestamp|now\\(\\)|current_timestamp' and pg_get_expr(adbin, adrelid) !~ 'test_clock'`,
    )
    expect(defaults.rows).toEqual([])
  })

  test('says so where it cannot be moved', async () => {
    await using plain = await createTestDatabase({ url: inject('server').url, movableClock: false })
    await expect(plain.clock.advance(1)).rejects.toThrow(
      'cannot be moved here: make the database with createTestDatabase()',
    )
  })
})
