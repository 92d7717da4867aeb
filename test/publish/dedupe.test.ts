import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { defineTopology, Posthaste, type PublishOptions, pgDatabase } from '../../src/index.ts'
import { waiting } from '../postgres/bench.ts'
import { Order, service } from '../queue/bench.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const topology = defineTopology({ exchanges: { orders: 'topic' }, queues: { billing: {}, mail: {} } })
let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await new Posthaste({ database: pgDatabase(db.pool), topology }).declare()
})
afterAll(() => db.drop())

const order = (n: number, options: PublishOptions = {}) => Order.create({ n }, { routingKey: 'billing', ...options })

async function client(): Promise<pg.Client> {
  const connected = new pg.Client({ connectionString: db.url })
  await connected.connect()
  onTestFinished(() => connected.end())
  return connected
}

async function inLog(id: string): Promise<number> {
  const { rows } = await db.pool.query('select count(*)::int as n from posthaste.outbox where message_id = $1', [id])
  return rows[0].n
}

async function allInLog(): Promise<number> {
  return (await db.pool.query('select count(*)::int as n from posthaste.outbox')).rows[0].n
}

test('a second message under a dedupe key adds nothing and answers the id of the first (P-3)', async () => {
  const { publish } = service(db.url, topology)
  const [first] = await publish(order(1, { dedupeKey: 'one' }))
  const before = await allInLog()
  expect(await publish(order(1, { dedupeKey: 'one' }))).toEqual([{ id: first!.id, duplicate: true }])
  expect(await publish(order(1, { dedupeKey: 'another' }))).toMatchObject([{ duplicate: false }])
  expect(await allInLog()).toBe(before + 1)
  expect(await inLog(first!.id)).toBe(1)
})

test('one, many and mixed: each answer is at the place of its message', async () => {
  const { publish } = service(db.url, topology)
  const own = '0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4e'
  const [a, , plain, b, owned] = await publish(
    order(1, { dedupeKey: 'a' }),
    order(1, { dedupeKey: 'a' }),
    order(2),
    order(3, { dedupeKey: 'b' }),
    order(4, { id: own }),
  )
  expect([a, plain, b, owned].map((each) => each!.duplicate)).toEqual([false, false, false, false])
  const again = await publish(
    order(3, { dedupeKey: 'b' }),
    order(2),
    order(4, { id: own }),
    order(1, { dedupeKey: 'a' }),
    order(5, { dedupeKey: 'c', id: '0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4f' }),
  )
  expect(again.map(({ duplicate }) => duplicate)).toEqual([true, false, true, true, false])
  expect([again[0]!.id, again[2]!.id, again[3]!.id]).toEqual([b!.id, own, a!.id])
  const { rows } = await db.pool.query(
    `select payload ->> 'n' as n from posthaste.outbox where message_id = any ($1) order by id`,
    [[a!.id, plain!.id, b!.id, owned!.id, again[1]!.id, again[4]!.id]],
  )
  expect(rows.map(({ n }) => n)).toEqual(['1', '2', '3', '4', '2', '5'])
})

test('another payload, exchange or routing key under the key is an error, and nothing of the call is added (P-3)', async () => {
  const { publish } = service(db.url, topology)
  await publish(order(1, { dedupeKey: 'conflict' }))
  const before = await allInLog()
  const conflict = expect.objectContaining({ code: 'DEDUPE_CONFLICT', messageType: 'order.placed' })
  await expect(publish(order(7), order(2, { dedupeKey: 'conflict' }))).rejects.toThrow(conflict)
  await expect(publish(order(1, { dedupeKey: 'conflict', routingKey: 'mail' }))).rejects.toThrow(conflict)
  await expect(publish(order(1, { dedupeKey: 'twice' }), order(2, { dedupeKey: 'twice' }))).rejects.toThrow(conflict)
  expect(await allInLog()).toBe(before)
  expect(await publish(order(2, { dedupeKey: 'twice' }))).toMatchObject([{ duplicate: false }])
})

test('the order of the names in an object makes no other payload, and keys of two types are apart', async () => {
  const { publish } = service(db.url, topology)
  const message = (type: string, payload: object) => ({ type, routingKey: 'billing', payload, dedupeKey: 'order' })
  const [first] = await publish(message('x', { a: 1, b: 2 }))
  expect(await publish(message('x', { b: 2, a: 1 }))).toEqual([{ id: first!.id, duplicate: true }])
  expect(await publish(message('y', { a: 9 }))).toMatchObject([{ duplicate: false }])
})

test('after the window the key stands for a new message', async () => {
  const { publish } = service(db.url, topology)
  const [first] = await publish(order(1, { dedupeKey: 'window', dedupeWindowMs: 1 }))
  const [second] = await publish(order(2, { dedupeKey: 'window' }))
  expect(second).toMatchObject({ duplicate: false })
  expect(second!.id).not.toBe(first!.id)
  expect(await publish(order(2, { dedupeKey: 'window' }))).toEqual([{ id: second!.id, duplicate: true }])
  const { rows } = await db.pool.query(
    `select until - clock_timestamp() > '6 days' as week from posthaste.dedupe where key = 'window'`,
  )
  expect(rows).toEqual([{ week: true }])
})

/** Two transactions that publish the same thing, the second after the first and before its end. */
async function rivals(dedupeKey: string) {
  const { posthaste } = service(db.url, topology)
  const [first, second] = [await client(), await client()]
  await first.query('begin')
  await second.query('begin')
  const published = await posthaste.publish(first, order(1, { dedupeKey }))
  const { rows } = await second.query('select pg_backend_pid() as pid')
  const later = posthaste.publish(second, order(1, { dedupeKey }))
  later.catch(() => {})
  await until(async () => (await waiting(db.pool)).includes(rows[0].pid))
  return { posthaste, first, second, published, later }
}

test('a concurrent duplicate waits for the first transaction, and is a duplicate when that commits', async () => {
  const { first, second, published, later } = await rivals('committed')
  await first.query('commit')
  expect(await later).toEqual({ id: published.id, duplicate: true })
  await second.query('commit')
  expect(await inLog(published.id)).toBe(1)
})

test('when the first transaction rolls back, the second one publishes', async () => {
  const { first, second, published, later } = await rivals('rolled back')
  await first.query('rollback')
  const own = await later
  expect(own.duplicate).toBe(false)
  await second.query('commit')
  expect([await inLog(published.id), await inLog(own.id)]).toEqual([0, 1])
})

test('the wait has an end: DEDUPE_BUSY after five seconds, and trying again finds the duplicate', async () => {
  const { posthaste, first, second, published, later } = await rivals('held')
  await expect(later).rejects.toThrow(expect.objectContaining({ code: 'DEDUPE_BUSY' }))
  await second.query('rollback')
  await first.query('commit')
  await second.query('begin')
  const again = await posthaste.publish(second, order(1, { dedupeKey: 'held' }))
  expect(again).toEqual({ id: published.id, duplicate: true })
  await second.query('commit')
})

test('calls with the same keys in any order never deadlock', async () => {
  const { publish } = service(db.url, topology)
  for (let round = 0; round < 20; round += 1) {
    const messages = Array.from({ length: 10 }, (_, n) => order(n, { dedupeKey: `deadlock ${round} ${n}` }))
    const published = await Promise.all([publish(...messages), publish(...messages.toReversed())])
    expect(published.flat().filter(({ duplicate }) => !duplicate)).toHaveLength(10)
  }
})

test('SQL knows the same keys as TypeScript, in publish and in publish_all', async () => {
  const { publish } = service(db.url, topology)
  const [first] = await publish(order(5, { dedupeKey: 'sql' }))
  const say = `select posthaste.publish('', 'billing', $1, type => 'order.placed', dedupe_key => 'sql', dedupe_window => '1 day') as id`
  expect((await db.pool.query(say, ['{"n": 5}'])).rows).toEqual([{ id: first!.id }])
  await expect(db.pool.query(say, ['{"n": 6}'])).rejects.toMatchObject({ code: 'PH030' })
  const all = await db.pool.query('select * from posthaste.publish_all($1::text)', [
    JSON.stringify([
      { type: 'order.placed', routing_key: 'billing', payload: { n: 5 }, dedupe_key: 'sql' },
      { type: 'order.placed', routing_key: 'billing', payload: { n: 6 } },
    ]),
  ])
  expect(all.rows).toMatchObject([{ id: first!.id, duplicate: 'true' }, { duplicate: 'false' }])
  for (const wrong of [`dedupe_key => ''`, `dedupe_window => '1 day'`, `dedupe_key => 'x', dedupe_window => '-1 day'`])
    await expect(db.pool.query(`select posthaste.publish('', 'billing', '{}', ${wrong})`)).rejects.toMatchObject({
      code: 'PH001',
    })
})

test('the command line publishes once under a key', async () => {
  const args = ['publish', '--routing-key', 'billing', '--payload', '{"n": 1}', '--dedupe-key', 'cli', '--json']
  const env = { DATABASE_URL: db.url }
  const first = JSON.parse((await cli(args, { env })).stdout)
  expect(first).toMatchObject({ duplicate: false })
  expect(JSON.parse((await cli(args, { env })).stdout)).toMatchObject({ id: first.id, duplicate: true })
})

test('a key that cannot be one is refused before SQL', async () => {
  const { posthaste, publish } = service(db.url, topology)
  const refused = (path: string) => expect.objectContaining({ code: 'INVALID_MESSAGE', path })
  await expect(publish(order(1, { dedupeKey: '' }))).rejects.toThrow(refused('dedupeKey'))
  await expect(publish(order(1, { dedupeKey: 'x'.repeat(1_025) }))).rejects.toThrow(refused('dedupeKey'))
  await expect(publish(order(1, { dedupeWindowMs: 5 }))).rejects.toThrow(refused('dedupeWindowMs'))
  await expect(publish(order(1, { dedupeKey: 'k', dedupeWindowMs: 0 }))).rejects.toThrow(refused('dedupeWindowMs'))
  const many = posthaste.publish(await client(), [order(1)], { dedupeKey: 'k' })
  await expect(many).rejects.toThrow(expect.objectContaining({ code: 'INVALID_OPTION', option: 'dedupeKey' }))
  const hourly = posthaste.schedule('hourly', '@hourly', order(1, { dedupeKey: 'k' }))
  await expect(hourly).rejects.toThrow(expect.objectContaining({ code: 'INVALID_SCHEDULE' }))
})
