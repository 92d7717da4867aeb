import { describe, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { bench, disordered, EFFECT } from './bench.ts'

type Bench = Awaited<ReturnType<typeof bench>>

function reading(b: Bench, options: { replayGuard?: boolean } = {}) {
  const process = b.process()
  process
    .consumer(b.stream, { ...options, batchSize: 20, concurrency: 2 })
    .on(b.Moved, async ({ id, payload }, { tx }) => {
      await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
    })
  return { process, group: process.stream(b.stream).group() }
}

const numbers = async (b: Bench) => (await b.effects()).map(({ n }) => n).toSorted((x, y) => x - y)
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

test('a group seeks back and reads again, and a dry run says how much without doing it', async () => {
  const b = await bench()
  const { process, group } = reading(b)
  await process.start()
  await b.publish(200)
  await b.handled(200)
  expect(await group.seek('earliest', { dryRun: true })).toMatchObject({ messages: 200 })
  expect((await b.effects()).length).toBe(200)
  await group.seek('earliest', { by: 'ada' })
  await b.handled(400)
  await b.publish(10, undefined, 200)
  await b.handled(410)
  expect(await numbers(b)).toEqual([...range(0, 200), ...range(0, 200), ...range(200, 210)].toSorted((x, y) => x - y))
  expect((await process.journal()).find(({ act }) => act === 'seek')).toMatchObject({ by: 'ada', queue: b.stream })
})

test('a part of the log is read again while messages arrive, and the group goes on from where it was', async () => {
  const b = await bench()
  const { process, group } = reading(b)
  await process.start()
  const ids = await b.publish(300)
  await b.handled(300)
  const facts = { from: ids[100]!, to: ids[149]! }
  expect(await group.replay({ ...facts, dryRun: true })).toMatchObject({ messages: 50 })
  await group.replay(facts)
  await b.publish(50, undefined, 300)
  await b.handled(400)
  await until(async () => !(await group.status()).replaying)
  await b.publish(50, undefined, 350)
  await b.handled(450)
  expect(await numbers(b)).toEqual([...range(0, 400), ...range(100, 150)].toSorted((x, y) => x - y))
})

test('with a replay guard nothing takes effect twice, and a dry run says how many are known', async () => {
  const b = await bench()
  const { process, group } = reading(b, { replayGuard: true })
  await process.start()
  await b.publish(100)
  await b.handled(100)
  expect(await group.replay({ from: 'earliest', dryRun: true })).toEqual({ messages: 100, processed: 100 })
  let duplicates = 0
  process.on('completed', ({ duplicate }) => {
    if (duplicate) duplicates += 1
  })
  await group.replay({ from: 'earliest' })
  await until(() => duplicates === 100, { timeoutMs: 20_000 })
  expect((await b.effects()).length).toBe(100)
})

test('a paused group reads nothing, in no process, and lags in messages and time until it is resumed', async () => {
  const b = await bench()
  const { process, group } = reading(b)
  await process.start()
  await b.publish(10)
  await b.handled(10)
  await group.pause({ reason: 'a new model', by: 'ada' })
  await b.publish(20, undefined, 10)
  await until(async () => (await group.status()).lag === 20)
  const status = await group.status()
  expect(status).toMatchObject({ lag: 20, lagCounted: true, paused: { reason: 'a new model', by: 'ada', until: null } })
  expect(status.lagMs).toBeGreaterThanOrEqual(0)
  expect((await b.effects()).length).toBe(10)
  expect(await group.resume()).toBe(true)
  await b.handled(30)
  await until(async () => (await group.status()).lag === 0)
})

test('what is held waits for a person, who looks at it, attempts it again, or passes over its head', async () => {
  const b = await bench({ onExhausted: 'hold', retry: { maxAttempts: 1 } })
  const process = b.process()
  const group = process.stream(b.stream).group()
  let broken = true
  process.consumer(b.stream, { batchSize: 20 }).on(b.Moved, async ({ id, payload }, { tx }) => {
    if (payload.n === 2 || (broken && payload.n === 1)) throw new Error(`n is ${payload.n}`)
    await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
  })
  await process.start()
  await b.publish(30, (n) => `a${n % 3}`)
  await b.handled(10)
  const parked = async () => (await group.parked()).toSorted((x, y) => (x.key < y.key ? -1 : 1))
  await until(async () => (await parked()).length === 2 && (await parked()).every(({ waiting }) => waiting === 9))
  expect(await parked()).toMatchObject([
    { key: 'a1', scope: 'key', held: true, dueAt: null, attempts: 1, waiting: 9, payload: { n: 1, account: 'a1' } },
    { key: 'a2', held: true, errors: [{ message: 'n is 2' }] },
  ])
  expect(await group.status()).toMatchObject({ parked: 20, parkedKeys: 2, heldKeys: 2, lag: 0 })
  broken = false
  expect(await group.retry('a1')).toBe(true)
  expect(await group.skip('a2', { by: 'ada' })).toBe(true)
  expect(await group.skip('nobody')).toBe(false)
  await b.handled(29)
  await until(async () => (await group.parked()).length === 0)
  expect(disordered(await b.effects())).toEqual([])
  const { rows } = await b.pool.query('select reason, payload from posthaste.dead_letters where grp = $1', [b.stream])
  expect(rows).toEqual([{ reason: 'skipped', payload: { n: 2, account: 'a2' } }])
})

test('a deleted group is nowhere any more, and the name begins anew', async () => {
  const b = await bench()
  const { process, group } = reading(b)
  await process.start()
  await b.publish(10)
  await b.handled(10)
  await process.stop()
  expect(await group.delete({ by: 'ada' })).toEqual({ parked: 0 })
  await expect(group.status()).rejects.toMatchObject({ code: 'UNKNOWN_GROUP' })
  await reading(b).process.start()
  await b.handled(20)
})

test('ticks that a reader may have in hand, and write down later, outlive the trimming of the log', async () => {
  const b = await bench()
  const { process } = reading(b)
  await process.start()
  for (const n of [0, 5, 10, 15]) {
    await b.publish(5, undefined, n)
    await b.handled(n + 5)
  }
  const ticks = async () => (await b.pool.query('select number from posthaste.ticks order by number')).rows
  const inHand = (await ticks()).slice(-4)
  for (let trims = 0; trims < 3; )
    if ((await b.pool.query('select posthaste.trim_logs() as done')).rows[0].done) trims += 1
  expect(await ticks()).toEqual(expect.arrayContaining(inHand))
})

describe('nothing that was put aside or leased outlives', () => {
  async function withSomethingAside() {
    const b = await bench({ onExhausted: 'hold', retry: { maxAttempts: 1 } })
    const process = b.process()
    const groups = [b.stream, `${b.stream}-other`]
    for (const group of groups)
      process.consumer(b.stream, { group, guarantee: 'at-least-once' }).on(b.Moved, () => {
        throw new Error('never')
      })
    await process.start()
    await b.publish(6, () => 'one')
    const { rows } = await b.pool.query<{ id: number }>(
      'select g.id from posthaste.stream_groups g join posthaste.queues q on q.id = g.queue where q.name = $1',
      [b.stream],
    )
    const ids = rows.map(({ id }) => id)
    const left = async (of: readonly number[] = ids): Promise<Record<string, number>> =>
      (
        await b.pool.query(
          `select (select count(*) from posthaste.parked where grp = any ($1))::int as parked,
                  (select count(*) from posthaste.parked_keys where grp = any ($1))::int as keys,
                  (select count(*) from posthaste.lane_leases where grp = any ($1))::int as leases`,
          [of],
        )
      ).rows[0]
    await until(async () => (await left()).parked === 12, { timeoutMs: 20_000 })
    return { b, process, left }
  }

  test('its group, also while that is read', async () => {
    const { b, process, left } = await withSomethingAside()
    expect((await left()).leases).toBeGreaterThan(0)
    expect(await process.stream(b.stream).group().delete()).toEqual({ parked: 6 })
    await process.stop()
    expect(await left()).toEqual({ parked: 6, keys: 1, leases: 0 })
  })

  test('its stream, which is deleted only by force while something is aside', async () => {
    const { b, process, left } = await withSomethingAside()
    await expect(process.queue(b.stream).delete()).rejects.toMatchObject({
      code: 'QUEUE_NOT_EMPTY',
      message: expect.stringContaining('12 messages aside'),
    })
    expect(await left()).toMatchObject({ parked: 12, keys: 2 })
    expect(await process.queue(b.stream).delete({ force: true })).toEqual({ purged: 12 })
    expect(await left()).toEqual({ parked: 0, keys: 0, leases: 0 })
    await process.stop()
    expect(await left()).toEqual({ parked: 0, keys: 0, leases: 0 })
  })
})
