import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { WHOLE } from '../../src/postgres/streams.ts'
import {
  ALL_LANES,
  dealtLanes,
  laneOf,
  laneSet,
  lanesIn,
  readLanes,
  shareOf,
  storedLanes,
} from '../../src/rules/lane.ts'
import { until } from '../support/until.ts'
import { bench } from './bench.ts'

test('a lane has one holder: transactions get what of their lanes is free, whatever sets they ask for', async () => {
  const { pool } = await bench()
  const asked = (lanes: bigint) => [1, storedLanes(lanes)]
  const LOCK = 'select posthaste.lock_lanes($1, $2, false) as got'
  for (let round = 0; round < 20; round += 1) {
    const sets = Array.from({ length: 4 }, (_, n) => (n === 3 ? ALL_LANES : setOf(round * 4 + n)))
    let held = 0n
    const clients: pg.PoolClient[] = []
    for (const set of sets) {
      const client = await pool.connect()
      clients.push(client)
      await client.query('begin')
      const got = readLanes((await client.query(LOCK, asked(set))).rows[0].got)
      expect(lanesIn(got)).toEqual(lanesIn(set & ~held))
      held |= got
    }
    for (const client of clients) await client.query('rollback')
    expect(readLanes((await pool.query(LOCK, asked(ALL_LANES))).rows[0].got)).toBe(ALL_LANES)
    for (const client of clients) client.release()
  }
})

// Sets of all kinds: ranges, single lanes, and what is scattered.
function setOf(seed: number): bigint {
  const random = (n: number) => ((seed * 2_654_435_761 + n * 40_503) >>> 7) % 64
  if (seed % 3 === 0) return laneSet([random(1), random(2), random(3)])
  const [from, to] = [random(1), random(2)].sort((a, b) => a - b) as [number, number]
  return laneSet(Array.from({ length: to - from + 1 }, (_, n) => from + n))
}

test('processes share the lanes without a rest, and as evenly as may be', () => {
  for (const count of [1, 2, 3, 5, 10, 64]) {
    const members = Array.from({ length: count }, (_, n) => 100 + n)
    const shares = members.map((member) => shareOf(member, members))
    expect(shares.reduce((all, share) => all + share, 0n)).toBe(ALL_LANES)
    const sizes = shares.map((share) => lanesIn(share).length)
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
  }
  expect(
    shareOf(
      999,
      Array.from({ length: 70 }, (_, n) => n),
    ),
  ).toBe(0n)
  expect(dealtLanes(laneSet([5, 9]), 4)).toEqual([laneSet([5]), laneSet([9])])
})

/** A process whose looks at the log are told: how many rows each has brought, and for which lanes. */
function watched({ url, topology }: Awaited<ReturnType<typeof bench>>, looked: (rows: number, lanes: bigint) => void) {
  const own = new pg.Pool({ connectionString: url, max: 20 })
  const database = pgDatabase(own)
  const query = database.query.bind(database)
  database.query = async (text, values, options) => {
    const answer = await query(text, values, options)
    if (options?.name === 'posthaste.read_stream') looked(answer.rows.length, readLanes(String(values[1])))
    return answer
  }
  const posthaste = new Posthaste({ database, topology })
  onTestFinished(async () => {
    await posthaste.stop({ timeoutMs: 0 })
    await own.end()
  })
  return posthaste
}

test('the groups of a process read the log once', async () => {
  const b = await bench()
  let rows = 0
  const posthaste = watched(b, (brought) => (rows += brought))
  const groups = ['a', 'b', 'c', 'd', 'e', 'f']
  const handled = new Map(groups.map((group) => [group, 0]))
  for (const group of groups)
    posthaste.consumer(b.stream, { group }).onBatch(b.Moved, (deliveries) => {
      handled.set(group, handled.get(group)! + deliveries.length)
    })
  await posthaste.start()
  const everywhere = (count: number) =>
    until(() => [...handled.values()].every((n) => n >= count), { what: `${count} messages in every group` })
  await b.publish(100)
  await everywhere(100)
  rows = 0
  for (let n = 1; n <= 10; n += 1) {
    await b.publish(300, undefined, n * 300)
    await everywhere(100 + n * 300)
  }
  // a look that began before another one ended where it might have begun reads for itself
  expect(rows).toBeLessThan(2 * 3_000)
  expect([...handled.values()]).toEqual(groups.map(() => 3_100))
})

const SECOND_HALF = laneSet(Array.from({ length: 32 }, (_, n) => 32 + n))

/** So many messages of two hundred accounts in the log, and the stream's group: half of its lanes before them, half in their middle. */
async function apart(count: number) {
  const b = await bench()
  const router = b.process()
  await router.start()
  const newest = async () => (await b.pool.query('select number from posthaste.newest_tick()')).rows[0].number
  const before = await newest()
  const ids = await b.publish(count, accountOf)
  await until(async () => (await router.status()).relay.unrouted === 0)
  await router.stop()
  const middle = 'select id from posthaste.outbox where message_id = $4'
  await b.pool.query(
    `select posthaste.move_lanes(g.grp, $2, $3, $5, (${middle}), null)
     from posthaste.queues q, posthaste.make_group(q.id, q.name, $3, $3, ${WHOLE}, null) g
     where q.name = $1`,
    [b.stream, storedLanes(SECOND_HALF), before, ids[count / 2 - 1], await newest()],
  )
  const expected = Array.from({ length: count }, (_, n) => n).filter((n) => n >= count / 2 || !isAhead(n))
  return { ...b, expected }
}

const accountOf = (n: number) => `a${n % 200}`
const isAhead = (n: number) => laneOf(accountOf(n), '') >= 32

test('lanes that a process finds in two places read the log together from where they meet', async () => {
  const b = await apart(20_000)
  const looks: bigint[] = []
  const posthaste = watched(b, (brought, lanes) => brought > 1 && looks.push(lanes))
  const handled: number[] = []
  posthaste.consumer(b.stream, { batchSize: 100, concurrency: 2 }).onBatch(b.Moved, (deliveries) => {
    for (const { payload } of deliveries) handled.push(payload.n)
  })
  await posthaste.start({ relay: false })
  await until(() => handled.length >= b.expected.length, { timeoutMs: 20_000 })
  expect(handled.toSorted((x, y) => x - y)).toEqual(b.expected)
  // those that are ahead wait, and do not read by themselves what all read from the middle on
  expect(looks.filter((lanes) => lanes === SECOND_HALF)).toEqual([])
  expect(looks).toContain(ALL_LANES)
})

test('lanes that are ahead do not wait for a handler of those behind', async () => {
  const b = await apart(20_000)
  const slow = accountOf(b.expected.find((n) => !isAhead(n))!)
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const handled = new Set<number>()
  const process = b.process()
  process.consumer(b.stream, { batchSize: 50, concurrency: 3 }).on(b.Moved, async ({ payload }) => {
    if (payload.account === slow) await released
    handled.add(payload.n)
  })
  await process.start({ relay: false })
  const ahead = b.expected.filter(isAhead)
  await until(() => ahead.every((n) => handled.has(n)), { timeoutMs: 20_000, what: 'what is ahead' })
  expect(b.expected.some((n) => accountOf(n) === slow && handled.has(n))).toBe(false)
  release()
  await until(() => handled.size >= b.expected.length, { timeoutMs: 20_000 })
  expect([...handled].toSorted((x, y) => x - y)).toEqual(b.expected)
})
