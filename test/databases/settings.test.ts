import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import {
  type Database,
  defineMessage,
  defineTopology,
  kyselyDatabase,
  migrate,
  Posthaste,
  pgDatabase,
} from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const Placed = defineMessage('order.placed', z.object({ n: z.int() }), {
  exchange: 'orders',
  key: ({ n }) => `${n % 5}`,
})
const GetQuote = defineMessage('quote.get', z.object({ sku: z.string() }), { reply: z.object({ cents: z.int() }) })
const GUARANTEES = ['exactly-once-effects', 'at-least-once', 'at-most-once'] as const
const retry = { minMs: 1, maxMs: 1, maxAttempts: 2 }
const topology = defineTopology({
  exchanges: { orders: 'fanout' },
  queues: {
    'exactly-once-effects': { from: [Placed], retry },
    'at-least-once': { from: [Placed], retry },
    'at-most-once': { from: [Placed] },
    quotes: { from: [GetQuote] },
    audit: { kind: 'stream', from: [Placed] },
  },
})

// What applications set for themselves, and thereby for every library in their process.
const PARSERS: Readonly<Record<number, (text: string) => unknown>> = {
  20: Number,
  114: (text) => text,
  1114: (text) => text,
  1184: (text) => text,
  1700: Number,
  3802: (text) => text,
}

/** Everything that a service does, on a database and through an adapter. */
async function everything<Tx>(database: Database<Tx>) {
  const posthaste = new Posthaste({ database, topology })
  onTestFinished(() => posthaste.stop({ timeoutMs: 0 }))
  const errors: unknown[] = []
  posthaste.on('error', (error) => errors.push(error))
  const completed = new Map<string, number>()
  const count = (name: string) => completed.set(name, (completed.get(name) ?? 0) + 1)
  for (const guarantee of GUARANTEES)
    posthaste.consumer(guarantee, { guarantee }).on(Placed, ({ payload, attempt }) => {
      if (payload.n === 3 && guarantee !== 'at-most-once') throw new Error(`attempt ${attempt}`)
      count(guarantee)
    })
  posthaste.consumer('audit').on(Placed, () => void count('audit'))
  posthaste.consumer('quotes').reply(GetQuote, ({ payload }) => ({ cents: payload.sku.length }))
  await posthaste.start()

  const messages = Array.from({ length: 20 }, (_, n) => Placed.create({ n }))
  await database.transaction((tx) => posthaste.publish(tx as never, messages))
  expect(await posthaste.request(GetQuote, { sku: 'teapot' })).toEqual({ cents: 6 })
  await until(() => completed.get('audit') === 20 && completed.get('at-most-once') === 20)
  await until(async () => (await posthaste.deadLetters.list()).length === 2)
  await until(() => completed.get('exactly-once-effects') === 19 && completed.get('at-least-once') === 19)
  expect(errors).toEqual([])
  return posthaste
}

const ADAPTERS: readonly [string, (pool: pg.Pool) => Database<unknown>][] = [
  ['pg', (pool) => pgDatabase(pool) as Database<unknown>],
  [
    'Kysely',
    (pool) =>
      kyselyDatabase(new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) }), { pool }) as Database<unknown>,
  ],
]

function poolOn(url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 12 })
  pool.on('error', () => {})
  onTestFinished(() => pool.end())
  return pool
}

describe('an application that reads numbers, times and JSON in its own way', () => {
  const before = Object.keys(PARSERS).map((oid) => [Number(oid), pg.types.getTypeParser(Number(oid))] as const)
  beforeAll(() => {
    for (const [oid, parse] of Object.entries(PARSERS)) pg.types.setTypeParser(Number(oid), parse)
  })
  afterAll(() => {
    for (const [oid, parse] of before) pg.types.setTypeParser(oid, parse as (text: string) => unknown)
  })

  test.each(ADAPTERS)('is served as any other, and is given times as times (%s)', async (_, adapt) => {
    await using db = await createDatabase()
    await db.pool.query(
      `do $$ begin execute format('alter database %I set timezone = ''Asia/Kolkata''', current_database()); end $$`,
    )
    const pool = poolOn(db.url)
    const posthaste = await everything(adapt(pool))
    const { queues, exchanges } = await posthaste.audit()
    expect([...queues, ...exchanges].filter(({ difference }) => difference !== 0)).toEqual([])
    const at = expect.any(Date)
    expect(await posthaste.schedule('nightly', '0 3 * * *', Placed.create({ n: 1 }))).toEqual(at)
    expect((await posthaste.deadLetters.list())[0]).toMatchObject({ deadAt: at, publishedAt: at })
    expect(await posthaste.stream('audit').group('audit').status()).toMatchObject({ madeAt: at, movedAt: at })
    const stored = { request: { city: 'Bern' }, effect: 'idempotent', call: async () => 'stored' } as const
    expect(await posthaste.effects.run('address:7', stored)).toMatchObject({ status: 'succeeded' })
    const held = await posthaste.effects.run('address:7', stored)
    expect(held.status === 'unknown' && held.retryAfterMs).toBeGreaterThan(20_000)
    expect((await posthaste.effects.list({ state: 'all' }))[0]).toMatchObject({ startedAt: at, changedAt: at })
    await posthaste.stop()
    expect((await pool.query('select 1::bigint as n, now() as at')).rows[0]).toEqual({ n: 1, at: expect.any(String) })
  })
})

describe('a database with settings of its own', () => {
  async function databaseWith(settings: Readonly<Record<string, string>>): Promise<TestDatabase> {
    const db = await createDatabase()
    onTestFinished(() => db.drop())
    const { rows } = await db.pool.query('select current_database() as name')
    await db.pool.query('drop schema posthaste cascade')
    for (const [name, value] of Object.entries(settings))
      await db.pool.query(`alter database ${rows[0].name} set ${name} = '${value}'`)
    return db
  }

  test('is migrated and worked with as any other', async () => {
    const { url } = await databaseWith({
      array_nulls: 'off',
      bytea_output: 'escape',
      default_transaction_isolation: 'serializable',
      extra_float_digits: '0',
      intervalstyle: 'sql_standard',
      quote_all_identifiers: 'on',
      standard_conforming_strings: 'off',
      timezone: 'Asia/Kolkata',
    })
    await migrate({ url })
    const posthaste = await everything(pgDatabase(poolOn(url)))
    const { queues } = await posthaste.audit()
    expect(queues.filter(({ difference }) => difference !== 0)).toEqual([])
  })

  test('is refused by name when it writes times in a way that nobody reads', async () => {
    const { url } = await databaseWith({ datestyle: 'SQL, DMY' })
    await migrate({ url })
    const posthaste = new Posthaste({ database: pgDatabase(poolOn(url)), topology })
    await expect(posthaste.start()).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
      message: expect.stringContaining('set DateStyle to ISO for the role or the database'),
    })
    await posthaste.stop()
  })
})
