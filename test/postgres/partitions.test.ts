import type pg from 'pg'
import { describe, expect, test } from 'vitest'
import { claimAgain } from '../../src/postgres/claim.ts'
import { lease } from '../../src/postgres/leases.ts'
import { until } from '../support/until.ts'
import { bench, claimOn, consume, GROUND, run, settleOn, t, transaction, waiting } from './bench.ts'
import { emptied, goTo, p99, partitionsOf, publishers, upkeep, upkeepUntil } from './partitions.ts'
import { moveXids } from './restored.ts'

const alone = () => bench({ alone: true })

describe('partitions', () => {
  test('are made before ids reach the last, which stays empty', async () => {
    const b = await alone()
    expect(await upkeep(b, 'make_partitions(0)')).toBe(false)
    await goTo(b, 200_001)
    expect(await upkeep(b, 'make_partitions(0)')).toBe(true)
    expect(await upkeep(b, 'make_partitions(0)')).toBe(false)
    expect((await partitionsOf(b)).map(({ from, to }) => [from, to])).toEqual([
      [0, 200_001],
      [200_001, 400_001],
      [400_001, 600_001],
      [600_001, null],
    ])
    await goTo(b, 599_999)
    const ids = await b.publishMany(b.pool, 4)
    await b.drain()
    expect(await b.ids()).toEqual(ids)
    expect(await consume(await b.connect(), b.number)).toEqual(ids)
    await b.audit()
  })

  test('are as large as the recent rate asks for', async () => {
    const b = await alone()
    await b.pool.query(`
      insert into posthaste.ticks (number, snapshot, top_id, at)
      select 2, pg_current_snapshot(), 3600000, (select at from posthaste.ticks) + interval '1 hour'`)
    await goTo(b, 300_000)
    const week = 7 * 86_400_000
    await upkeep(b, `make_partitions(${week})`)
    const [, , , made] = await partitionsOf(b)
    expect(made!.from - 400_001).toBeCloseTo((1_000 * week) / 1_000 / 20, -5)
  })

  test('take over a tail that ids have reached, beside publishers', async () => {
    const b = await alone()
    await goTo(b, 399_990)
    let over = false
    const publishing = publishers(b, 3, () => over)
    await until(
      async () =>
        (await b.pool.query('select last_value > 400100 as reached from posthaste.outbox_id')).rows[0].reached,
    )
    const before = (await partitionsOf(b)).length
    await until(async () => {
      await upkeep(b, 'make_partitions(0)')
      return (await partitionsOf(b)).length > before
    })
    over = true
    const { ids } = await publishing
    const { rows } = await b.pool.query(`select from pg_constraint where conname = 'fence'`)
    expect(rows).toEqual([])
    await b.drain()
    expect((await b.ids()).toSorted()).toEqual(ids.toSorted())
    expect((await consume(await b.connect(), b.number)).length).toBe(ids.length)
    await b.audit()
  })

  test('never refuse a message for a fence that was left standing', async () => {
    const b = await alone()
    await goTo(b, 450_000)
    await b.publish(b.pool)
    expect(await upkeep(b, 'make_partitions(0)')).toBe(true)
    const { rows } = await b.pool.query(
      `select pg_get_constraintdef(oid) as fence from pg_constraint where conname = 'fence'`,
    )
    const edge = Number(/id < '?(\d+)/.exec(rows[0].fence)![1])
    expect(edge - 450_000).toBeGreaterThanOrEqual(10_000_000)
    await goTo(b, edge - 4_000_000)
    await b.publish(b.pool)
    expect(await upkeep(b, 'make_partitions(0)')).toBe(true)
    await goTo(b, edge + 1)
    await b.publish(b.pool)
    for (let n = 0; n < 3; n += 1) await upkeep(b, 'make_partitions(0)')
    expect((await partitionsOf(b)).at(-1)!.from).toBeGreaterThan(edge)
    expect(await b.drain()).toBe(3)
    await b.audit()
  })

  test('are made, emptied and dropped beside publishers, none of whom waits', async () => {
    const b = await alone()
    await goTo(b, 200_100)
    const open = await b.connect()
    await open.query('begin')
    await b.publish(open)
    const undisturbed = await publishers(b, 3, within(1_000))
    const over = within(2_500)
    const [{ tookMs }, beside] = await Promise.all([publishers(b, 3, over), upkeepUntil(b, over)])
    expect(tookMs.length).toBeGreaterThan(50)
    // on a machine that does something else, a publisher is slow with nothing beside it
    expect(p99(tookMs)).toBeLessThan(Math.max(100, 4 * p99(undisturbed.tookMs)))

    await open.query('commit')
    await b.drain()
    const after = await upkeepUntil(b, rounds(3))
    for (const step of ['make_partitions(0)', 'empty_partition(0)', 'drop_shells()'])
      expect((beside.get(step) ?? 0) + (after.get(step) ?? 0), step).toBeGreaterThan(0)
    await b.audit()
  })
})

function within(ms: number): () => boolean {
  const until = performance.now() + ms
  return () => performance.now() > until
}

function rounds(n: number): () => boolean {
  let left = n
  return () => left-- <= 0
}

describe('a partition that retention empties', () => {
  /** A database whose first partition is passed, and its messages routed. */
  async function passed(...messages: Parameters<Awaited<ReturnType<typeof bench>>['publish']>[1][]) {
    const b = await alone()
    const ids = await b.publish(b.pool, ...messages)
    await goTo(b, 200_001)
    await b.publish(b.pool, { routing_key: 'nowhere' })
    await b.drain()
    return { b, ids }
  }

  test('keeps what is ready, delayed or leased, and its bodies', async () => {
    const { b, ids } = await passed(
      { payload: { n: 1 } },
      { payload: { n: 2 }, delay_ms: 60_000 },
      { payload: { n: 3 } },
      { payload: { n: 4 } },
    )
    const client = await b.connect()
    const [done] = await transaction(client, async () => {
      const rows = await claimOn(client, b.number, 1)
      await settleOn(client, b.number, rows)
      return rows
    })
    expect(done!.messageId).toBe(ids[0])
    const [leased] = await run(
      b.pool,
      lease(t, { queue: b.number, consumer: b.queue, limit: 1, leaseMs: 1, floors: GROUND, holder: 'x' }),
    )
    expect(await emptied(b)).toBe('outbox_p1')
    await b.audit()
    expect((await b.pool.query('select from posthaste.outbox_p1')).rows).toEqual([])
    expect(
      (await b.pool.query('select message_id from posthaste.held order by id')).rows.map((row) => row.message_id),
    ).toEqual(ids.slice(1))

    await b.pool.query(`update posthaste.partitions set emptied_at = emptied_at - interval '2 minutes'`)
    expect(await upkeep(b, 'drop_shells()')).toBe(true)
    expect((await partitionsOf(b)).map(({ from }) => from)).toEqual([200_001, 400_001])
    expect(await upkeep(b, 'trim_held()')).toBe(true)

    await b.pool.query('select posthaste.recover_leases(10)')
    await b.pool.query('update posthaste.scheduled set due_at = clock_timestamp()')
    await b.cycle()
    const rows = await transaction(client, async () => {
      const claimed = await claimOn(client, b.number, 10)
      await settleOn(client, b.number, claimed)
      return claimed
    })
    expect(rows.map(({ messageId, body }) => [messageId, body?.payload]).toSorted()).toEqual(
      [
        [ids[1], '{"n":2}'],
        [ids[2], '{"n":3}'],
        [ids[3], '{"n":4}'],
      ].toSorted(),
    )
    expect(leased!.delivery.messageId).toBe(ids[2])
    await upkeep(b, 'trim_held()')
    expect((await b.pool.query('select from posthaste.held')).rows).toEqual([])
    await b.audit()
  })

  test('is seen by a claim that waited for it: the body is there, not missing', async () => {
    const { b, ids } = await passed({ payload: { n: 1 } })
    const [keeper, consumer] = await Promise.all([b.connect(), b.connect()])
    await emptying(keeper)
    await consumer.query('begin')
    const claiming = claimOn(consumer, b.number, 1)
    await until(async () => (await waiting(b.pool)).length > 0)
    await keeper.query('commit')
    expect(await claiming).toMatchObject([{ messageId: ids[0], body: { payload: '{"n":1}' } }])
    await consumer.query('rollback')
  })

  test('is seen by an audit that waited for it', async () => {
    const { b } = await passed({}, {})
    const [keeper, auditor] = await Promise.all([b.connect(), b.connect()])
    await emptying(keeper)
    const audit = b.audit(auditor)
    await until(async () => (await waiting(b.pool)).length > 0)
    await keeper.query('commit')
    await audit
  })

  test('is not emptied while a message in it is not routed, or not yet committed', async () => {
    const b = await alone()
    const open = await b.connect()
    await open.query('begin')
    await b.publish(open)
    await b.publish(b.pool)
    await goTo(b, 200_001)
    await b.publish(b.pool)
    expect(await upkeep(b, 'empty_partition(0)')).toBe(null)
    await b.drain()
    expect(await upkeep(b, 'empty_partition(0)')).toBeFalsy()
    await open.query('commit')
    expect(await upkeep(b, 'empty_partition(0)')).toBe(null)
    expect(await b.drain()).toBe(1)
    await b.publish(b.pool)
    await b.drain()
    expect(await emptied(b)).toBe('outbox_p1')
    expect((await consume(await b.connect(), b.number)).length).toBe(4)
    await b.audit()
  })

  test('is not emptied before retention has passed, or before ids have', async () => {
    const { b } = await passed({})
    expect(await upkeep(b, 'empty_partition(3600000)')).toBe(null)
    expect(await emptied(b)).toBe('outbox_p1')
    expect(await upkeep(b, 'empty_partition(0)')).toBe(null)
  })

  test('is not dropped with what somebody put in it meanwhile', async () => {
    const { b } = await passed({})
    await emptied(b)
    await goTo(b, 100)
    const [late] = await b.publish(b.pool)
    await goTo(b, 200_010)
    await b.pool.query(`update posthaste.partitions set emptied_at = emptied_at - interval '2 minutes'`)
    await upkeep(b, 'drop_shells()')
    expect((await partitionsOf(b))[0]).toMatchObject({ from: 0, emptied: false })
    await b.drain()
    expect(await consume(await b.connect(), b.number)).toContain(late)
    await b.audit()
  })

  test('came with a dump, and is emptied all the same', async () => {
    const { b } = await passed({}, {})
    await consume(await b.connect(), b.number)
    await moveXids(b, 1_000_000_000)
    await b.pool.query('update posthaste.positions set system_identifier = 42')
    expect((await b.cycle()).rebased).toBe(true)
    expect(await emptied(b)).toBe('outbox_p1')
    await b.audit()
  })
})

/** Empties the first partition, and does not commit. Somebody else's lock in the way: once more. */
async function emptying(keeper: pg.Client): Promise<void> {
  await until(async () => {
    await keeper.query('begin')
    const done = await keeper.query('select posthaste.empty_partition(0) as name').catch(() => undefined)
    if (!done) await keeper.query('rollback')
    return done?.rows[0].name === 'outbox_p1'
  })
}

test('a delivery whose message is nowhere says so, and is claimed all the same', async () => {
  const b = await bench()
  const [id] = await b.publish(b.pool)
  await b.drain()
  await b.pool.query('update posthaste.outbox set id = -id where message_id = $1', [id])
  const client = await b.connect()
  await client.query('begin')
  const rows = await claimOn(client, b.number, 1)
  expect(rows).toMatchObject([{ messageId: id, body: null }])
  await settleOn(client, b.number, rows, { kind: 'dead', reason: 'LOG_MISSING' })
  await client.query('commit')
  const dead = await b.pool.query('select message_id, reason, type from posthaste.dead_letters where queue = $1', [
    b.number,
  ])
  expect(dead.rows).toEqual([{ message_id: id, reason: 'LOG_MISSING', type: null }])
  await b.pool.query('update posthaste.outbox set id = -id where message_id = $1', [id])
  await b.audit()
})

test('a handler that takes long holds no lock that a new partition waits for', async () => {
  const b = await alone()
  await b.publishMany(b.pool, 3)
  await b.drain()
  const handler = await b.connect()
  await handler.query('begin')
  const rows = await claimOn(handler, b.number, 1)
  await goTo(b, 200_001)
  expect(await upkeep(b, 'make_partitions(0)')).toBe(true)
  await handler.query('rollback')
  await handler.query('begin')
  expect(await run(handler, claimAgain(t, { queue: b.number, consumer: b.queue, rows }))).toHaveLength(1)
  await handler.query('rollback')
})
