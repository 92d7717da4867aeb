import { expect, test } from 'vitest'
import { lease } from '../../src/postgres/leases.ts'
import type { CycleOptions } from '../../src/postgres/relay.ts'
import { until } from '../support/until.ts'
import { type Bench, bench, run, t, transaction } from './bench.ts'
import { leaveAlone } from './plans.ts'

/** A bench with nothing scheduled in its database. */
async function quiet(): Promise<Bench> {
  const b = await bench()
  await b.pool.query('delete from posthaste.scheduled')
  return b
}

/** Lets time pass for what is scheduled. */
async function pass(b: Bench, time: string): Promise<void> {
  await b.pool.query('update posthaste.scheduled set due_at = due_at - $1::interval where queue = $2', [time, b.number])
}

test('delayed deliveries become ready in the order of their time, not of their publishing', async () => {
  const b = await quiet()
  const ids = await b.publish(b.pool, { delay_ms: 3_030_000 }, { delay_ms: 3_029_000 }, { delay_ms: 3_029_500 }, {})
  expect(await b.cycle()).toMatchObject({ messages: 4, deliveries: 4, queues: [b.number] })
  expect(await b.ids()).toEqual([ids[3]])
  expect(await b.ids('scheduled')).toHaveLength(3)
  await pass(b, '3030 s')
  expect(await b.cycle()).toMatchObject({ promoted: 3, queues: [b.number], nextDueMs: null })
  expect(await b.ids()).toEqual([ids[3], ids[1], ids[2], ids[0]])
  await b.audit()
})

test('what a full cycle leaves is promoted by the next ones, however long ago it was due', async () => {
  const b = await quiet()
  await b.publishMany(b.pool, 6, { delay_ms: 3_000_000 })
  await b.drain()
  await pass(b, '3030 s')
  expect(await b.cycle({ chunk: 2, sweep: true })).toMatchObject({ promoted: 2, more: true })
  expect(await b.cycle({ chunk: 2 })).toMatchObject({ promoted: 2, more: true })
  expect(await b.cycle({ chunk: 2 })).toMatchObject({ promoted: 2 })
})

test('a delivery is not ready before its time, and a cycle says how long that is', async () => {
  const b = await quiet()
  await b.publish(b.pool, { delay_ms: 600_000 })
  const { nextDueMs } = await b.cycle()
  expect(nextDueMs).toBeGreaterThan(500_000)
  expect(nextDueMs).toBeLessThanOrEqual(600_000)
  expect(await b.cycle()).toMatchObject({ promoted: 0 })
})

test('a time that has passed is now', async () => {
  const b = await bench()
  await b.publish(b.pool, { deliver_at: '2001-01-01T00:00:00Z' }, { delay_ms: 0 })
  await b.cycle()
  await b.cycle()
  expect(await b.ids()).toHaveLength(2)
})

test('what has been due for more than a minute is found by a sweep', async () => {
  const b = await quiet()
  await b.publishMany(b.pool, 3, { delay_ms: 600_000 })
  await b.cycle()
  await pass(b, '15 minutes')
  expect(await b.cycle()).toMatchObject({ promoted: 0, nextDueMs: null })
  expect(await b.cycle({ sweep: true })).toMatchObject({ promoted: 3 })
})

test('no more than a chunk becomes ready at once, and the cycle says that there is more', async () => {
  const b = await quiet()
  await b.publishMany(b.pool, 5, { delay_ms: 600_000 })
  await b.drain()
  await pass(b, '10 minutes')
  expect(await b.cycle({ chunk: 2 })).toMatchObject({ promoted: 2, more: true })
  expect(await b.cycle({ chunk: 2 })).toMatchObject({ promoted: 2, more: true })
  expect(await b.cycle({ chunk: 2 })).toMatchObject({ promoted: 1, more: false })
})

test('what another transaction holds is passed over', async () => {
  const b = await quiet()
  const ids = await b.publishMany(b.pool, 2, { delay_ms: 600_000 })
  await b.cycle()
  await pass(b, '10 minutes')
  const holder = await b.connect()
  await holder.query('begin')
  await holder.query('select from posthaste.scheduled where message_id = $1 for update', [ids[0]])
  expect(await b.cycle()).toMatchObject({ promoted: 1 })
  await holder.query('rollback')
  expect(await b.cycle()).toMatchObject({ promoted: 1 })
  expect(await b.ids()).toEqual([ids[1], ids[0]])
})

test('a cycle says when the next lease lapses', async () => {
  const b = await bench()
  await b.publish(b.pool)
  await b.drain()
  const floors = Array<string>(10).fill('0')
  await run(b.pool, lease(t, { queue: b.number, consumer: b.queue, limit: 1, leaseMs: 30_000, floors, holder: 'test' }))
  const { nextLeaseMs } = await b.cycle()
  expect(nextLeaseMs).toBeGreaterThan(20_000)
  expect(nextLeaseMs).toBeLessThanOrEqual(30_000)
})

test('a cycle tells the queues that got something, by notification', async () => {
  const b = await bench()
  const ears = await b.connect()
  const heard: string[] = []
  ears.on('notification', ({ channel, payload }) => heard.push(`${channel}${payload}`))
  await ears.query(`listen "posthaste.posthaste.${b.number}"`)
  await b.publishMany(b.pool, 3)
  await b.cycle()
  await until(() => heard.length > 0)
  expect(heard).toEqual([`posthaste.posthaste.${b.number}`])
})

test('what was promoted and cannot be removed, under a snapshot that is held open, is walked over once and by who looks so far back', async () => {
  const b = await bench({ alone: true })
  await leaveAlone(b)
  const [reader, relay] = [await b.connect(), await b.connect()]
  await reader.query('begin isolation level repeatable read')
  await reader.query('select 1')
  const schedule = (n: number, ago: string) =>
    b.pool.query(
      `insert into posthaste.scheduled (due_at, queue, priority, message, message_id)
       select clock_timestamp() - $1::interval, $2, 9, i, gen_random_uuid() from generate_series(1, $3) i`,
      [ago, b.number, n],
    )
  const entriesRead = async () => {
    const { rows } = await relay.query(
      `select pg_stat_get_xact_tuples_returned('posthaste.scheduled_pkey'::regclass)::integer as entries`,
    )
    return rows[0].entries
  }
  const lookingBack = async (options: Partial<CycleOptions>) => {
    await schedule(1, '10 ms')
    return await transaction(relay, async () => {
      const before = await entriesRead()
      const { promoted } = await b.cycle({ on: relay, ...options })
      return { promoted, entries: (await entriesRead()) - before }
    })
  }

  await schedule(3_000, '30 s')
  expect(await b.cycle({ on: relay, chunk: 5_000 })).toMatchObject({ promoted: 3_000 })
  const near = await lookingBack({ backMs: 1_000 })
  expect(near.promoted).toBe(1)
  expect(near.entries).toBeLessThan(50)
  for (const options of [{ backMs: 60_000 }, { sweep: true }]) {
    const far = await lookingBack(options)
    expect(far.promoted).toBe(1)
    expect(far.entries).toBeGreaterThanOrEqual(3_000)
    expect(far.entries).toBeLessThan(3_050)
  }
})
