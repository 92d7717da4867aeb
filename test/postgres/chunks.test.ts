import { describe, expect, test } from 'vitest'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import { type Bench, bench, waiting } from './bench.ts'
import { moveXids } from './restored.ts'

test('a set larger than a chunk is routed in the order of its ids, whatever the chunk', async () => {
  const b = await bench()
  const published: string[] = []
  for (let chunk = 1; chunk <= 7; chunk += 1) {
    for (let size = chunk - 1; size <= 2 * chunk + 1; size += 1) {
      if (size > 0) published.push(...(await b.publishMany(b.pool, size)))
      let cycle = await b.cycle({ chunk })
      const routed = [cycle.messages]
      while (cycle.more) {
        cycle = await b.cycle({ chunk })
        routed.push(cycle.messages)
      }
      expect(routed.reduce((sum, n) => sum + n)).toBe(size)
      expect(Math.max(...routed)).toBeLessThanOrEqual(chunk)
    }
  }
  expect(await b.ids()).toEqual(published)
  await b.audit()
})

test.each([1, 2, 3, 4, 5, 6, 7])(
  'transactions that end in any order are routed once, in chunks of %i',
  async (chunk) => {
    const b = await bench()
    const random = seeded(chunk)
    const writers = await Promise.all(Array.from({ length: 6 }, () => b.connect()))
    const open = new Map(writers.map((writer) => [writer, [] as string[]]))
    const committed: string[] = []
    await Promise.all(writers.map((writer) => writer.query('begin')))
    for (let step = 0; step < 120; step += 1) {
      const writer = writers[Math.floor(random() * writers.length)]!
      const ids = open.get(writer)!
      const dice = random()
      if (dice < 0.5) ids.push(...(await b.publishMany(writer, 1 + Math.floor(random() * 2 * chunk))))
      else if (dice < 0.75) {
        const kept = random() < 0.8
        await writer.query(kept ? 'commit' : 'rollback')
        await writer.query('begin')
        if (kept) committed.push(...ids)
        ids.length = 0
      } else await b.cycle({ chunk })
    }
    await Promise.all(writers.map((writer) => writer.query('commit')))
    for (const ids of open.values()) committed.push(...ids)
    await b.drain(chunk)
    expect((await b.ids()).toSorted()).toEqual(committed.toSorted())
    await b.audit()
  },
)

test('a message that commits late with a low id is routed then, and nothing before it again', async () => {
  const b = await bench()
  const late = await b.connect()
  await late.query('begin')
  const [low] = await b.publish(late)
  const others = await b.publishMany(b.pool, 10)
  await b.drain(3)
  expect(await b.ids()).toEqual(others)
  await late.query('commit')
  expect(await b.drain(3)).toBe(1)
  expect(await b.ids()).toEqual([...others, low])
})

test('a bulk whose ids lie among those of small transactions is routed once and moves on at every cycle', async () => {
  const b = await bench()
  const bulk = await b.connect()
  const ids: string[] = []
  await bulk.query('begin')
  for (let part = 0; part < 20; part += 1) {
    ids.push(...(await b.publishMany(bulk, 100)))
    ids.push(...(await b.publishMany(b.pool, 50)))
    if (part % 5 === 0) await b.drain(40)
  }
  await bulk.query('commit')
  const { rows } = await b.pool.query('select count(*)::int as before from posthaste.positions')
  await b.drain(40)
  const after = await b.pool.query('select count(*)::int as after from posthaste.positions')
  expect(after.rows[0].after - rows[0].before).toBeLessThan(100)
  expect((await b.ids()).toSorted()).toEqual(ids.toSorted())
  await b.audit()
})

test('a transaction whose ids lie hundreds of millions apart is routed without walking what lies between', async () => {
  const b = await bench()
  const slow = await b.connect()
  const ids: string[] = []
  await slow.query('begin')
  for (let part = 0; part < 4; part += 1) {
    ids.push(...(await b.publishMany(slow, 30)))
    await b.pool.query(`select setval('posthaste.outbox_id', nextval('posthaste.outbox_id') + 300000000)`)
    await b.publish(b.pool)
    await b.drain(10)
  }
  await slow.query('commit')
  let cycles = 0
  for (let more = true; more; cycles += 1) more = (await b.cycle({ chunk: 10 })).more
  expect(cycles).toBeLessThan(30)
  const routed = await b.ids()
  expect(routed.filter((id) => ids.includes(id))).toEqual(ids)
  expect(new Set(routed).size).toBe(ids.length + 4)
  await b.audit()
})

test('a backlog far larger than a chunk is routed in the order of its ids, what commits late with low ids first', async () => {
  const b = await bench()
  const late = await b.connect()
  await late.query('begin')
  const ids = await b.publishMany(late, 50)
  const routed = await b.publishMany(b.pool, 300)
  await b.drain()
  for (let n = 0; n < 10; n += 1) ids.push(...(await b.publishMany(b.pool, 100)))
  await late.query('commit')
  let most = 0
  for (let more = true; more; ) {
    const cycle = await b.cycle({ chunk: 20 })
    most = Math.max(most, cycle.messages)
    more = cycle.more
  }
  expect(most).toBe(20)
  expect(await b.ids()).toEqual([...routed, ...ids])
  await b.audit()
})

test('messages of one key keep the order of commits in any backlog, whatever their transactions are numbered', async () => {
  const b = await bench()
  const [first, second] = await Promise.all([b.connect(), b.connect()])
  const order: string[] = []
  for (let n = 0; n < 200; n += 1) {
    await second.query('begin; select pg_current_xact_id()')
    await first.query('begin')
    order.push(...(await b.publish(first, { key: 'account', lock_key: true })))
    if (n % 3 === 0) await b.publishMany(b.pool, 10, { key: 'other' })
    await first.query('commit')
    order.push(...(await b.publish(second, { key: 'account', lock_key: true })))
    await second.query('commit')
    if (n % 67 === 0) await b.cycle({ chunk: 3 })
  }
  await b.drain(5)
  const { rows } = await b.pool.query(
    `select r.message_id as id from posthaste.ready r join posthaste.outbox o on o.id = r.message
     where r.queue = $1 and o.key = 'account' order by r.position`,
    [b.number],
  )
  expect(rows.map((row) => row.id)).toEqual(order)
})

test('a bulk that is open or was rolled back is passed over once, and keeps no relay busy', async () => {
  const b = await bench()
  const bulk = await b.connect()
  await bulk.query('begin')
  await b.publishMany(bulk, 500)
  const idle = async () => {
    let cycles = 0
    while ((await b.cycle({ chunk: 5 })).more) cycles += 1
    return cycles
  }
  expect(await idle()).toBeLessThan(10)
  expect(await idle()).toBe(0)
  await bulk.query('rollback')
  expect(await idle()).toBeLessThan(10)
  expect(await idle()).toBe(0)
})

test('a look that found nothing becomes a tick when the last one is a minute old', async () => {
  const b = await bench()
  const tick = async () => Number((await b.pool.query('select max(number) as tick from posthaste.ticks')).rows[0].tick)
  const before = await tick()
  await b.pool.query(`update posthaste.ticks set at = at - interval '61 seconds'`)
  await b.cycle()
  expect(await tick()).toBe(before + 1)
})

describe('a relay', () => {
  test('that does not get the turn does nothing', async () => {
    const b = await bench()
    const holder = await b.connect()
    await b.publish(b.pool)
    await holder.query('begin')
    await b.cycle({ on: holder })
    expect(await b.cycle()).toMatchObject({ turn: false, messages: 0, more: false })
    await holder.query('rollback')
    expect(await b.cycle()).toMatchObject({ turn: true, messages: 1 })
  })

  test('whose transactions are not read committed is refused', async () => {
    const b = await bench()
    const client = await b.connect()
    await client.query('begin isolation level repeatable read')
    await expect(b.cycle({ on: client })).rejects.toMatchObject({ code: 'PH010' })
  })

  test('routes while a writer of another database stays open', async () => {
    const b = await bench()
    const elsewhere = await bench({ alone: true })
    const writer = await elsewhere.connect()
    await writer.query('begin')
    await elsewhere.publish(writer)
    await b.publishMany(b.pool, 3)
    expect(await b.drain()).toBe(3)
  })
})

describe('a log that was restored into another cluster', () => {
  const cases = [
    ['whose xids are far below', 1_000_000_000, true],
    ['whose xids are soon the same', 60, true],
    ['whose xids are above', -400, true],
    ['of the same name, whose xids are below', 1_000_000_000, false],
  ] as const

  test.each(cases)('%s loses nothing and routes nothing twice', async (_, by, foreign) => {
    const b = await bench({ alone: true })
    const late = await b.connect()
    const ids = await b.publishMany(b.pool, 7)
    await late.query('begin')
    ids.push(...(await b.publishMany(late, 3)))
    ids.push(...(await b.publishMany(b.pool, 7)))
    await b.cycle({ chunk: 5 })
    await b.cycle({ chunk: 5 })
    await late.query('commit')
    ids.push(...(await b.publishMany(b.pool, 4)))
    await b.pool.query('select posthaste.fold_tally()')

    await moveXids(b, by)
    if (foreign) await b.pool.query('update posthaste.positions set system_identifier = 42')
    ids.push(...(await b.publishMany(b.pool, 4)))
    const first = await b.cycle({ chunk: 5 })
    expect(first.rebased).toBe(true)
    for (let n = 0; n < 100; n += 1) ids.push(...(await b.publish(b.pool)))
    await b.drain(5)
    expect((await b.ids()).toSorted()).toEqual(ids.toSorted())
    await b.pool.query('select posthaste.fold_tally()')
    await b.audit()
    const { rows } = await b.pool.query(`select posthaste.backlog($1) as backlog`, [b.queue])
    expect(Number(rows[0].backlog)).toBe(ids.length)
  })

  test('in the middle of a set goes on behind what was routed of it', async () => {
    const b = await bench({ alone: true })
    const ids = await b.publishMany(b.pool, 20)
    await b.cycle({ chunk: 6 })
    await moveXids(b, 1_000_000)
    await b.pool.query('update posthaste.positions set system_identifier = 42')
    await b.drain(6)
    expect(await b.ids()).toEqual(ids)
    await b.audit()
  })

  test('waits for publishers that are under way, and routes their messages once', async () => {
    const b = await bench({ alone: true })
    await b.publishMany(b.pool, 3)
    await b.drain()
    await b.pool.query('update posthaste.positions set system_identifier = 42')
    const [early, later] = await Promise.all([b.connect(), b.connect()])
    await early.query('begin')
    await b.publishMany(early, 2)
    const rebase = b.cycle()
    await waitingFor(b, 1)
    const publishing = b.publishMany(later, 2)
    await waitingFor(b, 2)
    await early.query('commit')
    expect((await rebase).rebased).toBe(true)
    await publishing
    await b.drain()
    expect(new Set(await b.ids()).size).toBe(7)
    expect((await b.ids()).length).toBe(7)
    await b.audit()
  })
})

async function waitingFor(b: Bench, processes: number): Promise<void> {
  await until(async () => (await waiting(b.pool)).length >= processes, { what: `${processes} waiting for a lock` })
}
