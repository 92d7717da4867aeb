import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { defineTopology } from '../../src/index.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { route, service, unaccounted } from './bench.ts'

const SECRET = 'Ada Lovelace'

const topology = defineTopology({
  exchanges: { orders: 'fanout', dead: 'fanout' },
  queues: {
    billing: { from: [{ exchange: 'orders' }], retry: { maxAttempts: 2 }, deadLetter: { exchange: 'dead' } },
    mail: { from: [{ exchange: 'orders' }] },
    alarms: { from: [{ exchange: 'dead' }] },
  },
})

const message = {
  type: 'order',
  exchange: 'orders',
  payload: { name: SECRET },
  key: 'order-7',
  headers: { tenant: 't' },
}

/** The tables that hold a text. */
async function tablesWith(text: string, { pool }: TestDatabase): Promise<string[]> {
  const { rows } = await pool.query(
    `select relname as name from pg_class where relnamespace = 'posthaste'::regnamespace and relkind = 'r'`,
  )
  const found = await Promise.all(
    rows.map(async ({ name }) => {
      const { rows: some } = await pool.query(`select from posthaste."${name}" t where strpos(t::text, $1) > 0`, [text])
      return some.length > 0 ? [name as string] : []
    }),
  )
  return found.flat().toSorted()
}

test('a payload goes wherever it stands: log, held, dead letters, copies, histories; ids and account stay', async () => {
  await using db = await createDatabase()
  const { posthaste, publish, pool } = service(db.url, topology)
  await posthaste.declare()
  const [published, other] = await publish(message, { ...message, payload: { name: 'Grace' } })
  await route(pool)
  const [dying, spared] = await posthaste.queue('billing').receive({ max: 2 })
  await pool.query(
    `select posthaste.retry($1, $2, $3, '0 s', $4)`,
    await leaseOf(pool, dying!.id, `no seat for ${SECRET}`),
  )
  await spared!.complete()
  await route(pool)
  const [again] = await posthaste.queue('billing').receive()
  await again!.deadLetter('no money')
  await posthaste.queue('mail').receive() // leased
  await route(pool)
  await pool.query(`insert into posthaste.held select * from posthaste.outbox where message_id = $1`, [published!.id])
  expect(await tablesWith(SECRET, db)).toEqual(['attempts', 'dead_letters', 'held', 'outbox_p1'])
  const before = await posthaste.audit()

  const erased = await posthaste.erase(published!.id, { by: 'ada' })
  expect(erased).toMatchObject({ found: true, copies: [expect.any(String)], underWay: false })
  expect(await tablesWith(SECRET, db)).toEqual([])
  expect(await tablesWith('Grace', db)).toEqual(['outbox_p1'])
  expect(await posthaste.audit()).toEqual(before)
  expect(unaccounted(before)).toEqual([])

  const trace = await posthaste.trace(published!.id)
  expect(trace!.message).toMatchObject({ key: 'order-7', erased: true })
  expect((await posthaste.trace(other!.id))!.message).toMatchObject({ erased: false })
  const [letter] = await posthaste.deadLetters.list({ queue: 'billing' })
  expect(letter).toMatchObject({ messageId: published!.id, key: 'order-7', history: [{ message: 'erased' }, {}] })
  expect(await posthaste.journal()).toMatchObject([
    { act: 'erase', by: 'ada', facts: { messageId: published!.id, copies: erased.copies } },
  ])
  expect(await posthaste.erase(published!.id)).toMatchObject({ found: true })
  expect(await posthaste.erase('0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4e')).toMatchObject({ found: false })
})

async function leaseOf(pool: pg.Pool, messageId: string, error: string): Promise<unknown[]> {
  const { rows } = await pool.query(
    `select l.id, l.token, d ->> 'position' as position
     from posthaste.leases l cross join jsonb_array_elements(l.deliveries) d where d ->> 'message_id' = $1`,
    [messageId],
  )
  return [rows[0].id, rows[0].token, rows[0].position, error]
}

test('a delivery that was still to be attempted is a dead letter, "erased", in every mode and in SQL', async () => {
  await using db = await createDatabase()
  const { posthaste, publish, pool } = service(db.url, topology)
  await posthaste.declare()
  const published = await publish(message, message, message)
  for (const { id } of published) await posthaste.erase(id)
  await route(pool)
  expect((await pool.query(`select * from posthaste.receive('mail')`)).rows).toEqual([])
  expect(await posthaste.queue('billing').receive({ max: 1 })).toEqual([])
  posthaste.consumer('billing').otherwise(() => expect.unreachable())
  posthaste.consumer('mail', { guarantee: 'at-least-once' }).otherwise(() => expect.unreachable())
  await posthaste.start()
  await until(async () => (await posthaste.deadLetters.count({ reason: 'erased' })) >= 6)
  await until(async () => unaccounted(await posthaste.audit()).length === 0)
})

test('what an open transaction keeps of it is looked for again when that has ended', async () => {
  await using db = await createDatabase()
  const { posthaste, publish, pool } = service(db.url, topology)
  await posthaste.declare()
  const [published] = await publish(message)
  await route(pool)
  const client = new pg.Client({ connectionString: db.url })
  client.on('error', () => {})
  await client.connect()
  onTestFinished(() => client.end())
  await client.query('begin')
  const { rows } = await client.query(`select lease_id, token, position from posthaste.receive('billing')`)
  await client.query(`select posthaste.dead_letter($1, $2, $3, 'no')`, Object.values(rows[0]))
  const erasing = posthaste.erase(published!.id, { timeoutMs: 20_000 })
  await until(async () => !(await tablesWith(SECRET, db)).includes('outbox_p1'))
  await client.query('commit')
  expect(await erasing).toMatchObject({ found: true, underWay: false })
  expect(await tablesWith(SECRET, db)).toEqual([])
})

test('an erased message that is published again under its dedupe key is still a duplicate, and says nothing', async () => {
  await using db = await createDatabase()
  const { posthaste, publish } = service(db.url, topology)
  await posthaste.declare()
  const [published] = await publish({ ...message, dedupeKey: 'k' })
  await posthaste.erase(published!.id)
  expect(await publish({ ...message, dedupeKey: 'k' })).toEqual([{ id: published!.id, duplicate: true }])
})

test('the command line asks before it erases, and says who did it', async () => {
  await using db = await createDatabase()
  const { posthaste, publish } = service(db.url, topology)
  await posthaste.declare()
  const [published] = await publish(message)
  const env = { DATABASE_URL: db.url }
  expect(await cli(['erase', published!.id], { env })).toMatchObject({ code: 2 })
  expect(await tablesWith(SECRET, db)).toEqual(['outbox_p1'])
  const { stdout } = await cli(['erase', published!.id, '--yes', '--by', 'ada', '--json'], { env })
  expect(JSON.parse(stdout)).toEqual({ version: 1, found: true, copies: [], underWay: false })
  expect(await tablesWith(SECRET, db)).toEqual([])
  expect(await cli(['erase', '0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4e', '--yes'], { env })).toMatchObject({ code: 1 })
  expect(await posthaste.journal()).toMatchObject([{ act: 'erase', by: 'ada' }])
})
