import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology, type Guarantee } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { service, unaccounted } from './bench.ts'

const GetQuote = defineMessage('quote.get', z.object({ sku: z.string() }), {
  reply: z.object({
    cents: z.int(),
    at: z.iso
      .datetime()
      .transform((text) => new Date(text))
      .optional(),
  }),
})
const topology = defineTopology({
  queues: { quotes: { from: [GetQuote], retry: { minMs: 1, maxMs: 1, maxAttempts: 3 } } },
})

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query('create table asked (sku text, effect int)')
})
afterAll(() => db.drop())

const waiting = async () => (await db.pool.query('select count(*)::int as n from posthaste.requests')).rows[0].n
const overByTheServersClock = async () =>
  (
    await db.pool.query(
      'select bool_and(expires_at <= clock_timestamp()) as over from posthaste.outbox where expires_at is not null',
    )
  ).rows[0].over
const lateReplies = async () =>
  (await db.pool.query(`select coalesce(sum(n), 0)::int as n from posthaste.counters() where counter = 'late-replies'`))
    .rows[0].n

test.each<Guarantee>(['exactly-once-effects', 'at-least-once', 'at-most-once'])(
  'a request is answered by a consumer (%s), and nothing is left behind',
  async (guarantee) => {
    const asking = service(db.url, topology)
    const answering = service(db.url, topology)
    answering.posthaste
      .consumer('quotes', { guarantee })
      .reply(GetQuote, ({ payload }) => ({ cents: payload.sku.length, at: '2026-01-01T00:00:00Z' }))
    await Promise.all([answering.posthaste.start(), asking.posthaste.start({ relay: false })])
    expect(await asking.posthaste.request(GetQuote, { sku: 'teapot' })).toEqual({
      cents: 6,
      at: new Date('2026-01-01T00:00:00Z'),
    })
    const skus = Array.from({ length: 50 }, (_, n) => 'x'.repeat(n + 1))
    const answers = await Promise.all(skus.map((sku) => asking.posthaste.request(GetQuote, { sku })))
    expect(answers.map(({ cents }) => cents)).toEqual(skus.map(({ length }) => length))
    expect(await waiting()).toBe(0)
  },
)

test('the reply is committed with the effects of the handler: what is rolled back is not answered', async () => {
  const { posthaste } = service(db.url, topology)
  let tries = 0
  posthaste.consumer('quotes').reply(GetQuote, async (delivery, { tx }) => {
    tries += 1
    await tx.query('insert into asked values ($1, $2)', [delivery.payload.sku, tries])
    if (tries === 1) throw new Error('not now')
    if (tries === 2) return delivery.retry({ delayMs: 1 })
    return { cents: tries }
  })
  await posthaste.start()
  expect(await posthaste.request(GetQuote, { sku: 'rolled back' })).toEqual({ cents: 3 })
  expect((await db.pool.query(`select effect from asked where sku = 'rolled back'`)).rows).toEqual([{ effect: 3 }])
})

test('a request that nobody answers in time ends, and expires before somebody begins it', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.start()
  await expect(posthaste.request(GetQuote, { sku: 'nobody' }, { timeoutMs: 80 })).rejects.toMatchObject({
    code: 'REQUEST_TIMEOUT',
    contract: 'quote.get',
  })
  expect(await waiting()).toBe(0)
  await until(overByTheServersClock)
  const late = service(db.url, topology)
  const seen: unknown[] = []
  late.posthaste.consumer('quotes').reply(GetQuote, ({ payload }) => {
    seen.push(payload)
    return { cents: 1 }
  })
  const expired = late.posthaste.until('expired')
  await late.posthaste.start({ relay: false })
  await expired
  expect(seen).toEqual([])
})

test('a reply that comes too late is counted and dropped, and the effects of its handler stay', async () => {
  const { posthaste } = service(db.url, topology)
  const { promise: over, resolve } = Promise.withResolvers<void>()
  posthaste.consumer('quotes').reply(GetQuote, async ({ payload }, { tx }) => {
    await over
    await tx.query('insert into asked values ($1, 1)', [payload.sku])
    return { cents: 1 }
  })
  await posthaste.start()
  const before = await lateReplies()
  const told = posthaste.until('reply-late')
  const completed = posthaste.until('completed')
  await expect(posthaste.request(GetQuote, { sku: 'late' }, { timeoutMs: 1_500 })).rejects.toMatchObject({
    code: 'REQUEST_TIMEOUT',
  })
  resolve()
  await Promise.all([told, completed])
  expect((await db.pool.query(`select effect from asked where sku = 'late'`)).rows).toEqual([{ effect: 1 }])
  expect(await lateReplies()).toBe(before + 1)
  expect(await waiting()).toBe(0)
})

test('of a requester that died nothing is left', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.declare()
  await db.pool.query(`select posthaste.open_request(gen_random_uuid(), 'a dead process', 0)`)
  await db.pool.query(`update posthaste.requests set until = clock_timestamp() - interval '1 minute'`)
  expect((await db.pool.query('select posthaste.trim_requests() as done')).rows).toEqual([{ done: true }])
  expect(await waiting()).toBe(0)
})

test('a requester that stops waiting, by signal or by stop, is told so at once', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.start()
  const stop = new AbortController()
  const aborted = posthaste.request(GetQuote, { sku: 'a' }, { signal: stop.signal })
  const stopped = posthaste.request(GetQuote, { sku: 'b' })
  await until(async () => (await waiting()) === 2)
  stop.abort(new Error('enough'))
  await expect(aborted).rejects.toThrow('enough')
  const ended = expect(stopped).rejects.toMatchObject({ code: 'STOPPED' })
  await posthaste.stop()
  await ended
  await until(async () => (await waiting()) === 0)
})

test('a request is answered without notifications too, and replies that do not fit their contract fail the attempt', async () => {
  const answering = service(db.url, topology)
  answering.posthaste.consumer('quotes').reply(GetQuote, ({ payload }) => ({ cents: payload.sku === 'bad' ? 0.5 : 7 }))
  await answering.posthaste.start()
  const asking = service(db.url, topology)
  expect(await asking.posthaste.request(GetQuote, { sku: 'polled' })).toEqual({ cents: 7 })
  const dead = answering.posthaste.until('dead-lettered')
  await expect(asking.posthaste.request(GetQuote, { sku: 'bad' }, { timeoutMs: 1_000 })).rejects.toMatchObject({
    code: 'REQUEST_TIMEOUT',
  })
  expect(await dead).toMatchObject({ reason: 'non-retryable', error: { code: 'CONTRACT_VIOLATION' } })
  expect(unaccounted(await answering.posthaste.audit())).toEqual([])
})

test('other languages reply through SQL', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.start()
  const asked = posthaste.request(GetQuote, { sku: 'sql' })
  const [row] = await until(async () => {
    const { rows } = await db.pool.query(`select * from posthaste.receive('quotes', 1)`)
    return rows.length > 0 ? rows : undefined
  })
  await db.pool.query(`select posthaste.reply($1, 'quotes', '{"cents": 9}'), posthaste.complete($2, $3, $4)`, [
    row.message_id,
    row.lease_id,
    row.token,
    row.position,
  ])
  expect(await asked).toEqual({ cents: 9 })
})

test('bad input is refused before anything is published', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.declare()
  await expect(posthaste.request(GetQuote, { sku: 'x' }, { timeoutMs: 0 })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
  })
  await expect(posthaste.request(GetQuote, { sku: 1 } as never)).rejects.toMatchObject({ code: 'CONTRACT_VIOLATION' })
  await expect(posthaste.request(GetQuote, { sku: 'x' }, { publish: { id: 'x' } } as never)).rejects.toMatchObject({
    code: 'UNKNOWN_OPTION',
  })
  expect(() => defineMessage('x', z.string(), { reply: 5 } as never)).toThrow(
    expect.objectContaining({ code: 'INVALID_CONTRACT' }),
  )
  expect(await waiting()).toBe(0)
})
