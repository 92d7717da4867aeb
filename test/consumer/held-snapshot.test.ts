import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { ClaimLoop } from '../../src/consumer/claim-loop.ts'
import { BENEFIT_OF_DOUBT_MS, Crashes } from '../../src/consumer/crashes.ts'
import { Depth } from '../../src/consumer/depth.ts'
import { Floors } from '../../src/consumer/floors.ts'
import { EventBus } from '../../src/events.ts'
import { claim } from '../../src/postgres/claim.ts'
import { leaseOrWait, sortedOut } from '../../src/postgres/leases.ts'
import { type Queryable, run } from '../../src/postgres/queryable.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { Sounding } from '../../src/queue/sounding.ts'
import { BOTTOM, SKY } from '../../src/rules/position.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { makeQueue, type TestQueue } from './bench.ts'

const DEAD = 20_000
/** What came since, and the pages that are gone through on the way to it. */
const FEW = 100
const PRIORITY = 4

const tables = tablesOf('posthaste')
let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  const holder = await connected()
  await holder.query('begin isolation level repeatable read')
  await holder.query('select from posthaste.ready')
})
afterAll(() => db.drop())

async function connected(): Promise<pg.Client> {
  const client = new pg.Client(db.url)
  client.on('error', () => {})
  await client.connect()
  return client
}

async function connection(): Promise<pg.Client> {
  const client = await connected()
  onTestFinished(() => client.end())
  return client
}

/** Rows of a queue, as the relay puts them there; their positions. */
async function put(on: pg.Client | pg.Pool, queue: TestQueue, count: number): Promise<string[]> {
  const { rows } = await on.query(
    `insert into posthaste.ready (queue, priority, message, message_id)
     select $1, ${PRIORITY}, 1, gen_random_uuid() from generate_series(1, $2) returning position::text as position`,
    [queue.number, count],
  )
  return rows.map(({ position }) => position)
}

/** Deliveries that were claimed and have ended, and are kept by the snapshot. */
async function leaveDead(queue: TestQueue, count = DEAD): Promise<void> {
  const positions = await put(db.pool, queue, count)
  await db.pool.query('delete from posthaste.ready where queue = $1 and position = any ($2::bigint[])', [
    queue.number,
    positions,
  ])
}

/** A connection that counts what its statements read of the index, and a clock on which a long read takes a second. */
async function counting(): Promise<Queryable & { read: number; ms: number; now: () => number }> {
  const client = await connection()
  const readSoFar = async (): Promise<number> => {
    const { rows } = await client.query(
      `select pg_stat_get_xact_tuples_returned('posthaste.ready_pkey'::regclass)::int as read`,
    )
    return rows[0].read
  }
  const query: Queryable['query'] = async (text, values) => {
    await client.query('begin')
    const before = await readSoFar()
    const answer = await client.query(text, values as unknown[])
    counted.read = (await readSoFar()) - before
    await client.query('commit')
    if (counted.read >= DEAD) counted.ms += 1_000
    return answer
  }
  const counted = { query, read: 0, ms: 0, now: () => counted.ms }
  return counted
}

/** A consumer's look, after one from the bottom and a quarter of a minute in which nothing else came. */
async function settled(queue: TestQueue) {
  const database = await counting()
  const depth = new Depth({ context: { database, tables }, number: queue.number } as never, database.now)
  await depth.look()
  expect(database.read).toBeGreaterThanOrEqual(DEAD)
  const after = async (seconds: number, urgent = false) => {
    database.ms += seconds * 1_000
    return (await depth.look({ urgent }))[PRIORITY]
  }
  expect(await after(16)).toBe(SKY[PRIORITY])
  return { database, depth, after }
}

/** A row whose position is given and that is not committed yet, while others come and go. */
async function begun(queue: TestQueue) {
  const late = await connection()
  await late.query('begin')
  const [position] = await put(late, queue, 1)
  await leaveDead(queue, 50)
  return { late, position: position! }
}

const claiming = (queue: TestQueue, floors = BOTTOM) =>
  claim(tables, { queue: queue.number, consumer: queue.name, limit: 1, floors })

test('a look reads what came since, not all that has died', async () => {
  const queue = await makeQueue(db.pool)
  await leaveDead(queue)
  const { database, depth, after } = await settled(queue)
  const [position] = await put(db.pool, queue, 1)
  expect(await after(1)).toBe(position)
  expect(database.read).toBeLessThan(FEW)
  const floors = new Floors()
  floors.rise(depth.ground)
  await run(database, claiming(queue, floors.positions))
  expect(database.read).toBeLessThan(FEW)
  await after(190)
  expect(database.read).toBeGreaterThanOrEqual(DEAD)
})

test('a row that a process had claimed for minutes when it was killed is found, and charged', async () => {
  const queue = await makeQueue(db.pool)
  await leaveDead(queue)
  const { database, depth, after } = await settled(queue)
  const [position] = await put(db.pool, queue, 1)
  const victim = await connection()
  await victim.query('begin')
  await run({ query: (text, values) => victim.query(text, values as unknown[]) }, claiming(queue))
  await leaveDead(queue)
  for (const seconds of [1, 40, 60]) expect(await after(seconds)).toBe(position)
  expect(depth.ground[PRIORITY]).toBe(position)

  const { rows } = await victim.query('select pg_backend_pid() as pid')
  await db.pool.query('select pg_terminate_backend($1, 5000)', [rows[0].pid])
  const context = { database, tables, events: new EventBus() }
  const seat = { context, queue, number: queue.number, flow: { byKey: false } }
  const crashes = new Crashes(seat as never, { has: () => false } as never)
  const floors = SKY.with(PRIORITY, String(BigInt(position!) + 1n))
  const look = async () => crashes.look(await depth.look(), floors)
  expect(await look()).toBe(0)
  expect(crashes.pending).toBe(1)
  await until(async () => (await look()) === 1, { timeoutMs: BENEFIT_OF_DOUBT_MS * 20 })
  const { rows: charged } = await db.pool.query(
    'select position::text as position, crashes from posthaste.ready where queue = $1',
    [queue.number],
  )
  expect(charged).toEqual([{ position, crashes: 1 }])
})

test('a row that is committed seconds after its position was given is found below the floor, by a look that reads little', async () => {
  const queue = await makeQueue(db.pool)
  await leaveDead(queue)
  const { database, after } = await settled(queue)
  const { late, position } = await begun(queue)
  expect(await after(7)).toBe(SKY[PRIORITY])
  expect(await after(7)).toBe(SKY[PRIORITY])
  await late.query('commit')
  expect(await after(1)).toBe(position)
  expect(database.read).toBeLessThan(FEW)
})

test('a row that is committed a minute after its position was given is found by a look from the bottom, and sooner where somebody spoke of it', async () => {
  const queue = await makeQueue(db.pool)
  await leaveDead(queue)
  const { depth, after } = await settled(queue)
  const { late, position } = await begun(queue)
  for (const seconds of [1, 20, 20]) expect(await after(seconds)).toBe(SKY[PRIORITY])
  await late.query('commit')
  expect(await after(1)).toBe(SKY[PRIORITY])
  expect(await after(1, true)).toBe(position)
  expect(depth.ground[PRIORITY]).toBe(position)
  expect(await after(1)).toBe(position)
})

/** Leases for somebody who pulls, each with how much it read. */
async function pulling(queue: TestQueue) {
  const database = await counting()
  const depth = new Depth({ context: { database, tables }, number: queue.number } as never, database.now)
  const look = vi.spyOn(depth, 'look')
  const sounding = new Sounding(depth, database.now)
  const pull = async (afterSeconds: number) => {
    database.ms += afterSeconds * 1_000
    const askedAt = database.ms
    const facts = { queue: queue.number, consumer: queue.name, limit: 1, leaseMs: 600_000, holder: randomUUID() }
    const answers = await run(database, leaseOrWait(tables, { ...facts, floors: sounding.ground }))
    const { read } = database
    await sounding.leased(database.ms - askedAt)
    return { read, positions: sortedOut(answers).leased.map(({ delivery }) => delivery.position) }
  }
  return { pull, look }
}

test('a pull reads what came since, not all that has died, and one that is committed late is found', async () => {
  const queue = await makeQueue(db.pool)
  await leaveDead(queue)
  const { pull } = await pulling(queue)
  for (const seconds of [0, 16]) expect((await pull(seconds)).read).toBeGreaterThanOrEqual(DEAD)
  const { late, position } = await begun(queue)
  const [next] = await put(db.pool, queue, 1)
  const { read, positions } = await pull(1)
  expect(positions).toEqual([next])
  expect(read).toBeLessThan(FEW)

  for (const seconds of [6, 16, 16]) expect((await pull(seconds)).positions).toEqual([])
  await late.query('commit')
  expect((await pull(1)).positions).toEqual([])
  await pull(200)
  expect((await pull(1)).positions).toEqual([position])
})

test('many slow pulls at once have one look', async () => {
  const { promise: found, resolve: find } = Promise.withResolvers<void>()
  const look = vi.fn(() => found.then(() => BOTTOM))
  const sounding = new Sounding({ ground: BOTTOM, look })
  const leases = Array.from({ length: 20 }, () => sounding.leased(1_000))
  find()
  await Promise.all(leases)
  expect(look).toHaveBeenCalledOnce()
})

test('a pull from a healthy queue looks at nothing else', async () => {
  const queue = await makeQueue(db.pool)
  await put(db.pool, queue, 3)
  const { pull, look } = await pulling(queue)
  for (const seconds of [0, 16, 16]) expect((await pull(seconds)).positions).toHaveLength(1)
  expect(look).not.toHaveBeenCalled()
})

test('a poll reads what came since, and a row below that is found by its next look from the bottom', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const queue = await makeQueue(db.pool)
  await leaveDead(queue)
  const counted = await counting()
  const query: Queryable['query'] = async (...args) => {
    const answer = await counted.query(...args)
    if (counted.read >= DEAD) vi.advanceTimersByTime(1_000)
    return answer
  }
  const listener = { healthy: true, onChange: () => () => {}, subscribe: () => () => {} }
  const context = { database: { query }, tables, events: new EventBus(), listener, instance: randomUUID() }
  const claims = new ClaimLoop(context as never, { pollIntervalMs: 3_600_000 })
  let told = Promise.withResolvers<void>()
  let woken = 0
  const polled = async (seconds: number) => {
    woken = 0
    vi.advanceTimersByTime(seconds * 1_000)
    told = Promise.withResolvers<void>()
    claims.look()
    await told.promise
    return { woken, read: counted.read }
  }
  const wake = () => {
    woken += 1
  }
  onTestFinished(claims.enlist(queue.number, { wake, see: () => told.resolve() }))
  await told.promise
  expect(counted.read).toBeGreaterThanOrEqual(DEAD)

  expect(await polled(16)).toMatchObject({ woken: 0 })
  const [position] = await put(db.pool, queue, 1)
  expect(await polled(1)).toEqual({ woken: 1, read: expect.toSatisfy((read: number) => read < FEW) })
  await db.pool.query('delete from posthaste.ready where queue = $1', [queue.number])
  expect(await polled(20)).toMatchObject({ woken: 0 })
  await db.pool.query(
    `insert into posthaste.ready (queue, priority, position, message, message_id)
     select $1, ${PRIORITY}, $2::bigint - 1000, 1, gen_random_uuid()`,
    [queue.number, position],
  )
  expect(await polled(20)).toEqual({ woken: 0, read: expect.toSatisfy((read: number) => read < FEW) })
  expect(await polled(200)).toMatchObject({ woken: 1 })
})
