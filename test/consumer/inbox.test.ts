import { randomUUID } from 'node:crypto'
import { Kysely, PostgresDialect, sql } from 'kysely'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Inbox } from '../../src/inbox.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { newMessageId } from '../../src/rules/message.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let db: TestDatabase
const inbox = new Inbox(tablesOf('posthaste'), 'payments')

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query('create table booked (id uuid)')
})
afterAll(() => db.drop())

async function transaction<Result>(work: (tx: pg.PoolClient) => Promise<Result>, end = 'commit') {
  const client = await db.pool.connect()
  try {
    await client.query('begin')
    const result = await work(client)
    await client.query(end)
    return result
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

const times = async (id: string) => (await db.pool.query('select from booked where id = $1', [id])).rows.length

test.each([
  ['uuidv7', newMessageId],
  ['any other uuid', randomUUID],
] as const)('the work of a message is done once: %s', async (_, makeId) => {
  const id = makeId()
  const book = () =>
    transaction((tx) =>
      inbox.once(tx, id, async () => (await tx.query('insert into booked values ($1)', [id])).rowCount),
    )
  expect(await book()).toEqual({ status: 'processed', value: 1 })
  expect(await book()).toEqual({ status: 'duplicate' })
  expect(await times(id)).toBe(1)
})

test('a transaction that rolls back has noted nothing', async () => {
  const id = newMessageId()
  await transaction((tx) => inbox.once(tx, id, () => {}), 'rollback')
  expect(await transaction((tx) => inbox.once(tx, id, () => 'again'))).toEqual({ status: 'processed', value: 'again' })
})

test('two at once: one does the work, the other is told', async () => {
  const id = newMessageId()
  const book = () => transaction((tx) => inbox.once(tx, id, () => tx.query('insert into booked values ($1)', [id])))
  const results = await Promise.all([book(), book(), book()])
  expect(results.map(({ status }) => status).toSorted()).toEqual(['duplicate', 'duplicate', 'processed'])
  expect(await times(id)).toBe(1)
})

test('work that throws leaves no note, even in a transaction that is committed all the same', async () => {
  const id = newMessageId()
  await transaction(async (tx) => {
    const failing = inbox.once(tx, id, () => {
      throw new Error('not today')
    })
    await expect(failing).rejects.toThrow('not today')
  })
  expect(await transaction((tx) => inbox.once(tx, id, () => 1))).toEqual({ status: 'processed', value: 1 })
})

test('one message is done once for each consumer', async () => {
  const id = newMessageId()
  const other = new Inbox(tablesOf('posthaste'), 'shipping')
  const results = await transaction(async (tx) => [
    await inbox.once(tx, id, () => 1),
    await other.once(tx, id, () => 2),
  ])
  expect(results).toEqual([
    { status: 'processed', value: 1 },
    { status: 'processed', value: 2 },
  ])
})

test('with Kysely and with a bare query function', async () => {
  const kysely = new Kysely<object>({ dialect: new PostgresDialect({ pool: db.pool }) })
  const id = newMessageId()
  const book = () => kysely.transaction().execute((tx) => inbox.once(tx, id, () => sql`select 1`.execute(tx)))
  expect((await book()).status).toBe('processed')
  expect(await book()).toEqual({ status: 'duplicate' })
  const bare = await transaction((tx) =>
    inbox.once({ query: (text, values) => tx.query(text, values) }, newMessageId(), () => 'ok'),
  )
  expect(bare).toEqual({ status: 'processed', value: 'ok' })
})

test('outside of a transaction nothing is noted and nothing is done', async () => {
  const outside = { query: (text: string, values: unknown[]) => db.pool.query(text, values) }
  const id = newMessageId()
  let calls = 0
  const attempt = inbox.once(outside, id, () => {
    calls += 1
  })
  await expect(attempt).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
  expect(calls).toBe(0)
  await expect(inbox.once(outside, 'evt_1', () => {})).rejects.toMatchObject({ code: 'INVALID_OPTION' })
})
