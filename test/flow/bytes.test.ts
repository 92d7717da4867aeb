import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Prefetch } from '../../src/consumer/prefetch.ts'
import { claim } from '../../src/postgres/claim.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import {
  accountOf,
  drained,
  EFFECT,
  effectsOf,
  inboxOf,
  makeQueue,
  processOn,
  publishReady,
  type TestQueue,
} from '../consumer/bench.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { consumeIn, publishMegabytes } from './bytes.ts'

const GROUND = Array<string>(10).fill('0')
const KB = 1_024
const tables = tablesOf('posthaste')

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

const sized = (bytes: number) => () => ({ payload: { text: 'x'.repeat(bytes) } })

async function claimed(queue: TestQueue, limit: number) {
  const client = await db.pool.connect()
  try {
    await client.query('begin')
    const { text, values, decode } = claim(tables, { queue: queue.number, consumer: queue.name, limit, floors: GROUND })
    const rows = (await client.query(text, [...values])).rows.map((row) => decode!(row))
    await client.query('commit')
    return rows
  } finally {
    client.release()
  }
}

test('a claim of a plain queue goes by no rules of a flow', () => {
  expect(claim(tables, { queue: 1, consumer: 'q', limit: 1, floors: GROUND }).text).toMatch(
    / from "posthaste"\.claim\(\$1, \$2, \$3, \$4::bigint\[\]\)$/,
  )
})

describe('a claim', () => {
  test('brings no more bodies than fit, and leaves the others in their places, uncharged and unnoted', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxBatchBytes: 10 * KB } })
    const ids = await publishReady(db.pool, queue, 10, sized(3 * KB))
    const before = await db.pool.query('select position, message_id from posthaste.ready where queue = $1 order by 1', [
      queue.number,
    ])
    const rows = await claimed(queue, 10)
    expect(rows.filter(({ leftOut }) => !leftOut).map(({ messageId }) => messageId)).toEqual(ids.slice(0, 3))
    expect(rows.filter(({ leftOut }) => leftOut).map(({ messageId }) => messageId)).toEqual(ids.slice(3))
    const after = await db.pool.query(
      'select position, message_id, xmax::text from posthaste.ready where queue = $1 order by 1',
      [queue.number],
    )
    expect(after.rows).toEqual(before.rows.slice(3).map((row) => ({ ...row, xmax: '0' })))
    expect(await inboxOf(db.pool, queue)).toEqual(new Set(ids.slice(0, 3)))
  })

  test('brings one message, however large', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxBatchBytes: KB } })
    const ids = await publishReady(db.pool, queue, 3, sized(5 * KB))
    const rows = await claimed(queue, 3)
    expect(rows.filter(({ leftOut }) => !leftOut).map(({ messageId }) => messageId)).toEqual(ids.slice(0, 1))
  })

  test('brings 16 MB where nothing is said', async () => {
    const queue = await makeQueue(db.pool)
    await publishMegabytes(db.pool, queue, 20)
    const rows = await claimed(queue, 50)
    expect(rows.filter(({ leftOut }) => !leftOut)).toHaveLength(16)
  })
})

test('what is leased at once fits too, in every language, and what does not is not charged', async () => {
  const queue = await makeQueue(db.pool, { flow: { maxBatchBytes: 10 * KB } })
  await publishReady(db.pool, queue, 10, sized(3 * KB))
  const { rows } = await db.pool.query('select message_id, attempt from posthaste.receive($1, 10)', [queue.name])
  expect(rows).toHaveLength(3)
  expect(await accountOf(db.pool, queue)).toEqual({ ready: 7, scheduled: 0, leased: 3, dead: 0 })
  const left = await db.pool.query('select distinct attempts from posthaste.ready where queue = $1', [queue.number])
  expect(left.rows).toEqual([{ attempts: 0 }])
})

describe.each(['exactly-once-effects', 'at-least-once', 'at-most-once'] as const)('%s', (guarantee) => {
  test('all are handled, once, though few fit at a time', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxBatchBytes: 10 * KB } })
    const ids = await publishReady(db.pool, queue, 60, sized(3 * KB))
    const { consumer, pool } = processOn(db.url)
    await consumer(queue, { guarantee, batchSize: 50, concurrency: 3 })
      .otherwise(async ({ id }) => void (await pool.query(EFFECT, [queue.name, id, 0])))
      .start()
    await drained(db.pool, queue, 60, 8_000)
    await until(async () => (await effectsOf(db.pool, queue)).size === 60)
    expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
    const audited = await db.pool.query('select difference from posthaste.audit() where name = $1', [queue.name])
    expect(audited.rows).toEqual([{ difference: '0' }])
  })
})

test('what was left out of a claim that is rolled back is nobody’s crash', async () => {
  const queue = await makeQueue(db.pool, { flow: { maxBatchBytes: 10 * KB }, maxCrashes: 1 })
  await publishReady(db.pool, queue, 12, sized(3 * KB))
  const { consumer, told } = processOn(db.url)
  let failures = 5
  await consumer(queue, { batchSize: 12, concurrency: 1 })
    .otherwise(async (_, { tx }) => {
      await tx.query('select 1')
      failures -= 1
      if (failures >= 0) throw Object.assign(new Error('deadlock detected'), { code: '40P01' })
    })
    .start()
  await drained(db.pool, queue, 12)
  expect(told('crash-counted')).toEqual([])
})

test('a process with little memory works off more than it could hold', async () => {
  const queue = await makeQueue(db.pool)
  await publishMegabytes(db.pool, queue, 150)
  const held = await consumeIn(96, { url: db.url, queue, count: 150, concurrency: 4 })
  expect(held).toMatchObject({ seen: 150, completed: 150 })
}, 60_000)

describe('prefetch', () => {
  const row = (bytes: number) => ({ body: { payload: 'x'.repeat(bytes), bytes: null } }) as never

  test('asks for what is likely to fit, judged by what came last, and for one always', () => {
    const prefetch = new Prefetch(() => 1_000)
    expect(prefetch.fit(50)).toBe(50)
    const letGo = prefetch.took([row(100), row(100)])
    expect(prefetch.fit(50)).toBe(8)
    prefetch.took([row(700)])
    expect(prefetch.fit(50)).toBe(1)
    letGo()
    expect(prefetch.fit(50)).toBe(1)
  })

  test('forgets large messages when small ones come', () => {
    const prefetch = new Prefetch(() => 1_000)
    prefetch.took([row(500)])()
    expect(prefetch.fit(50)).toBe(2)
    for (let n = 0; n < 100; n += 1) prefetch.took([row(1)])()
    expect(prefetch.fit(50)).toBe(50)
  })
})
