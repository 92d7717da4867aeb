import { afterAll, beforeAll, expect, test } from 'vitest'
import { pgDatabase } from '../../src/databases/pg.ts'
import { EventBus } from '../../src/events.ts'
import { defineTopology } from '../../src/index.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { Timetable } from '../../src/relay/timetable.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { Order, service, unaccounted } from './bench.ts'

const topology = defineTopology({ exchanges: { orders: 'topic' }, queues: { ticks: {}, other: {} } })

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

const tick = () => Order.create({ n: 1 }, { routingKey: 'ticks', headers: { kind: 'nightly' } })

/** A relay's timetable, and what it could not do. */
function timetable() {
  const errors: unknown[] = []
  const table = new Timetable({
    database: pgDatabase(db.pool),
    tables: tablesOf('posthaste'),
    events: new EventBus(),
    listener: { healthy: true, subscribe: () => () => {} },
    onDuty: () => true,
    onError: (error) => errors.push(error),
  })
  return { table, errors }
}

const backdate = (name: string, interval: string) =>
  db.pool.query(
    `update posthaste.schedules set next_at = date_trunc('minute', clock_timestamp()) - $2::interval where name = $1 returning next_at`,
    [name, interval],
  )
const published = async (name: string): Promise<{ tick: string; payload: unknown; headers: object }[]> =>
  (
    await db.pool.query(
      `select headers ->> 'tick' as tick, payload, headers from posthaste.outbox where headers ->> 'schedule' = $1 order by id`,
      [name],
    )
  ).rows

test('a tick is published once however many relays find it due', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.declare()
  await posthaste.schedule('storm', '* * * * *', tick(), { missed: 'all' })
  for (let round = 1; round <= 5; round += 1) {
    await backdate('storm', '29 minutes')
    await Promise.all(Array.from({ length: 8 }, () => timetable().table.look()))
    const rows = await published('storm')
    expect(rows).toHaveLength(30 * round)
  }
  expect((await published('storm'))[0]).toMatchObject({
    payload: { n: 1 },
    headers: { kind: 'nightly', schedule: 'storm' },
  })
})

test('a relay publishes each tick when it comes, and a schedule that was removed no more', async () => {
  const { posthaste } = service(db.url, topology)
  const seen: unknown[] = []
  posthaste.consumer('other').on(Order, ({ headers }) => void seen.push(headers.tick))
  await posthaste.start()
  const next = await posthaste.schedule('beat', '* * * * * *', Order.create({ n: 2 }, { routingKey: 'other' }))
  await until(() => seen.length >= 2)
  expect(seen.slice(0, 2)).toEqual([next.toISOString(), new Date(next.getTime() + 1_000).toISOString()])
  expect(await posthaste.schedules.remove('beat')).toBe(true)
  expect(await posthaste.schedules.remove('beat')).toBe(false)
  expect(unaccounted(await posthaste.audit())).toEqual([])
})

test('declaring it again keeps its next tick, and another expression or time zone gives it another', async () => {
  const { posthaste } = service(db.url, topology, { service: 'books' })
  await posthaste.declare()
  const first = await posthaste.schedule('redeclared', '0 3 1 1 *', tick())
  await db.pool.query(`update posthaste.schedules set next_at = '2001-01-01' where name = 'redeclared'`)
  expect(await posthaste.schedule('redeclared', '0 3 1 1 *', tick())).toEqual(new Date('2001-01-01T00:00:00Z'))
  const berlin = await posthaste.schedule('redeclared', '0 3 1 1 *', tick(), { timeZone: 'Europe/Berlin' })
  expect(berlin.getTime()).toBe(first.getTime() - 3_600_000)
  expect((await posthaste.schedules.list()).find(({ name }) => name === 'redeclared')).toMatchObject({
    cron: '0 3 1 1 *',
    timeZone: 'Europe/Berlin',
    missed: 'once',
    type: 'order.placed',
    routingKey: 'ticks',
    nextAt: berlin,
    lastAt: null,
    owner: 'books',
  })
})

test('a schedule that changes while a relay is about to fire it is not fired by its old tick', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.declare()
  await posthaste.schedule('changed', '* * * * *', tick())
  const { rows } = await backdate('changed', '0')
  await posthaste.schedule('changed', '0 0 1 1 *', tick())
  const fired = await db.pool.query(
    `select posthaste.fire_schedule('changed', $1, 'infinity', array[$1::timestamptz]) as fired`,
    [rows[0].next_at],
  )
  expect(fired.rows).toEqual([{ fired: false }])
  expect(await published('changed')).toEqual([])
})

test('one that cannot be published keeps no other from its tick', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.declare()
  await posthaste.schedule('gone', '* * * * *', { type: 'x', exchange: 'orders', payload: {} })
  await posthaste.schedule('well', '* * * * *', tick())
  await db.pool.query(
    `update posthaste.schedules set message = '{"type":"x","exchange":"nowhere","routing_key":"x","payload":{}}' where name = 'gone'`,
  )
  await backdate('gone', '2 minutes')
  await backdate('well', '0')
  const { table, errors } = timetable()
  expect(await table.look()).toBeGreaterThan(1_000)
  expect(errors).toHaveLength(1)
  expect(await published('well')).toHaveLength(1)
  await posthaste.schedules.remove('gone')
})

test('bad input is refused and stores nothing', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.declare()
  const put = (name: string, cron: string, message: Parameters<typeof posthaste.schedule>[2], options = {}) =>
    posthaste.schedule(name, cron, message, options)
  const refused = { code: 'INVALID_SCHEDULE' }
  await expect(put('bad', '0 0 30 2 *', tick())).rejects.toMatchObject(refused)
  await expect(put('bad', 'often', tick())).rejects.toMatchObject(refused)
  await expect(put('bad', '* * * * *', tick(), { timeZone: 'Berlin' })).rejects.toMatchObject(refused)
  await expect(put('', '* * * * *', tick())).rejects.toMatchObject(refused)
  const id = '0190a000-0000-7000-8000-000000000001'
  await expect(put('bad', '* * * * *', Order.create({ n: 1 }, { id }))).rejects.toMatchObject(refused)
  await expect(put('bad', '* * * * *', Order.create({ n: 1 }, { deliverAt: new Date() }))).rejects.toMatchObject(
    refused,
  )
  await expect(put('bad', '* * * * *', Order.create({ n: 1.5 }))).rejects.toMatchObject({ code: 'CONTRACT_VIOLATION' })
  await expect(put('bad', '* * * * *', tick(), { missed: 'some' })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  await expect(put('bad', '* * * * *', tick(), { timezone: 'UTC' })).rejects.toMatchObject({ code: 'UNKNOWN_OPTION' })
  await expect(put('bad', '* * * * *', { type: 'x', exchange: 'order', payload: 1 })).rejects.toMatchObject({
    code: 'UNKNOWN_EXCHANGE',
  })
  expect((await posthaste.schedules.list()).map(({ name }) => name)).not.toContain('bad')
})

test('the command line lists and removes them', async () => {
  const { posthaste } = service(db.url, topology)
  await posthaste.declare()
  await posthaste.schedule('from-cli', '0 3 * * *', tick())
  const env = { DATABASE_URL: db.url }
  const { stdout } = await cli(['schedules', 'list', '--json'], { env })
  expect(JSON.parse(stdout).schedules.find(({ name }: { name: string }) => name === 'from-cli')).toMatchObject({
    cron: '0 3 * * *',
    timeZone: 'UTC',
    missed: 'once',
  })
  expect(await cli(['schedules', 'remove', 'from-cli'], { env })).toMatchObject({ code: 2 })
  expect(await cli(['schedules', 'remove', 'from-cli', '--yes'], { env })).toMatchObject({ code: 0 })
  expect(await cli(['schedules', 'remove', 'from-cli'], { env })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('there is none of this name'),
  })
})
