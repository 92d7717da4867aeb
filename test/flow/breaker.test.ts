import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NotSupported } from '../../src/errors.ts'
import type { BreakerRule } from '../../src/rules/flow.ts'
import {
  accountOf,
  drained,
  endsOf,
  makeQueue,
  processOn,
  publish,
  publishReady,
  type TestQueue,
} from '../consumer/bench.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

const HOUR = 3_600_000
const broken = (rule: Partial<BreakerRule> = {}) =>
  makeQueue(db.pool, {
    flow: { breaker: { failures: 5, openMs: HOUR, maxOpenMs: 2 * HOUR, ...rule } },
    retry: { maxAttempts: 3, minMs: 1, maxMs: 1 },
  })

async function balanced(queue: TestQueue): Promise<void> {
  const { rows } = await db.pool.query('select difference from posthaste.audit() where name = $1', [queue.name])
  expect(rows).toEqual([{ difference: '0' }])
}

/** As if the time for which the breaker is open were over. */
const halfOpen = async (queue: TestQueue) => {
  await db.pool.query(`update posthaste.pauses set until = clock_timestamp() where queue = $1 and source = 'breaker'`, [
    queue.number,
  ])
  await db.pool.query('select pg_notify(posthaste.flow_channel(), $1)', [''])
}
const settled = (queue: TestQueue, count: number) =>
  until(async () => {
    const open = await db.pool.query(
      `select from pg_stat_activity where datname = current_database() and backend_xid is not null`,
    )
    const { ready, leased, scheduled } = await accountOf(db.pool, queue)
    return open.rows.length === 0 && leased === 0 && ready + scheduled === count
  })

describe.each(['exactly-once-effects', 'at-least-once'] as const)('%s', (guarantee) => {
  test('so many failures in a row, over all processes, stop every process, and what is left uses no attempt', async () => {
    const queue = await broken()
    await publishReady(db.pool, queue, 100)
    const processes = [processOn(db.url), processOn(db.url)]
    let called = 0
    for (const { consumer } of processes)
      await consumer(queue, { guarantee, concurrency: 1, batchSize: 20 })
        .otherwise(() => {
          called += 1
          throw new Error('the bank is down')
        })
        .start()
    for (const { told } of processes) await until(() => told('paused').length > 0)
    await settled(queue, 100)
    // each process spares what it has in hand when it has seen five failures itself
    expect(called).toBeLessThanOrEqual(2 * 2 * 5)
    const { rows } = await db.pool.query(
      `select coalesce(sum(attempts), 0)::int as used from (
         select attempts from posthaste.ready where queue = $1 union all select attempts from posthaste.scheduled where queue = $1) d`,
      [queue.number],
    )
    expect(rows[0].used).toBe(called)
    expect(processes[0]!.told('paused')).toEqual([
      { queue: queue.name, source: 'breaker', forMs: expect.any(Number), reason: expect.stringMatching(/in a row/) },
    ])
    expect((await processes[0]!.operate(queue).status()).paused).toMatchObject({ source: 'breaker' })
    await balanced(queue)
  })

  test('a try that succeeds closes it for all, one that fails uses no attempt and opens it for longer', async () => {
    const queue = await broken()
    const [one, two] = [processOn(db.url), processOn(db.url)]
    let out = true
    for (const { consumer } of [one, two])
      await consumer(queue, { guarantee, concurrency: 2, batchSize: 10 })
        .otherwise(() => {
          if (out) throw new Error('the bank is down')
        })
        .start()
    await publishReady(db.pool, queue, 30)
    await until(() => one.told('paused').length > 0 && two.told('paused').length > 0)
    await settled(queue, 30)
    const attempts = async () =>
      (
        await db.pool.query(
          `select coalesce(sum(attempts), 0)::int as used from (
             select attempts from posthaste.ready where queue = $1 union all select attempts from posthaste.scheduled where queue = $1) d`,
          [queue.number],
        )
      ).rows[0].used
    const used = await attempts()
    await halfOpen(queue)
    await until(() => [...one.told('breaker-probed'), ...two.told('breaker-probed')].length === 1)
    expect([...one.told('breaker-probed'), ...two.told('breaker-probed')]).toEqual([
      { queue: queue.name, passed: false },
    ])
    await settled(queue, 30)
    expect(await attempts()).toBe(used)
    const { rows } = await db.pool.query(
      `select times, until > clock_timestamp() + interval '90 minutes' as longer from posthaste.pauses where queue = $1`,
      [queue.number],
    )
    expect(rows).toEqual([{ times: 2, longer: true }])

    out = false
    await halfOpen(queue)
    await drained(db.pool, queue, 30)
    await until(() => one.told('resumed').length === 1 && two.told('resumed').length === 1)
    expect((await one.operate(queue).status()).paused).toBe(null)
    expect((await accountOf(db.pool, queue)).dead).toBe(0)
    await balanced(queue)
  })
})

test('failures with successes between them, also of another process, do not open it', async () => {
  const queue = await broken({ failures: 3 })
  const [failing, working] = [processOn(db.url), processOn(db.url)]
  const turns: string[] = []
  const handler = (name: string) => async () => {
    turns.push(name)
    if (name === 'failing') throw new Error('no')
  }
  const first = failing.consumer(queue, { concurrency: 1, batchSize: 1 }).otherwise(handler('failing'))
  for (let round = 0; round < 3; round += 1) {
    const [ends, failed] = [await endsOf(db.pool, queue), failing.told('retried').length]
    const consumer = round === 0 ? first : failing.consumer(queue, { batchSize: 1 }).otherwise(handler('failing'))
    await consumer.start()
    await publish(db.pool, queue, 1)
    await until(() => failing.told('retried').length > failed)
    await consumer.stop()
    const other = working.consumer(queue, { batchSize: 1 }).otherwise(handler('working'))
    await other.start()
    await drained(db.pool, queue, ends + 1)
    await other.stop()
  }
  expect(turns.filter((name) => name === 'failing').length).toBeGreaterThanOrEqual(3)
  const { rows } = await db.pool.query('select from posthaste.pauses where queue = $1', [queue.number])
  expect(rows).toEqual([])
})

test('what a handler decides by itself, a dead letter or a retry, is no failure', async () => {
  const queue = await broken({ failures: 2 })
  await publishReady(db.pool, queue, 12)
  const { consumer, told } = processOn(db.url)
  await consumer(queue)
    .otherwise((delivery) => (delivery.attempt === 1 ? delivery.retry({ delayMs: 0 }) : delivery.deadLetter('unknown')))
    .start()
  await drained(db.pool, queue, 12)
  expect(told('paused')).toEqual([])
})

test('it opens and closes by the clock, without anybody’s help', async () => {
  const queue = await broken({ failures: 2, openMs: 200, maxOpenMs: 400 })
  const { consumer, told } = processOn(db.url)
  let failures = 4
  await consumer(queue, { concurrency: 1, batchSize: 1 })
    .otherwise(() => {
      failures -= 1
      if (failures >= 0) throw new Error('not yet')
    })
    .start()
  await publish(db.pool, queue, 5)
  await drained(db.pool, queue, 5)
  await until(() => told('resumed').length === 1)
  expect(told('breaker-probed').at(-1)).toEqual({ queue: queue.name, passed: true })
  await balanced(queue)
})

test('other languages take part: their failures open it, nothing is received while it is open, then one delivery, whose end counts', async () => {
  const queue = await broken({ failures: 2 })
  await publishReady(db.pool, queue, 10)
  const receive = async () =>
    (await db.pool.query('select lease_id, token, position from posthaste.receive($1, 4, $2)', [queue.name, '1 hour']))
      .rows
  const say = (verb: string, { lease_id, token, position }: Record<string, string>) =>
    db.pool.query(`select posthaste.${verb}($1, $2, $3)`, [lease_id, token, position])
  const first = await receive()
  expect(first).toHaveLength(4)
  await say('retry', first[0])
  expect((await db.pool.query('select from posthaste.pauses where queue = $1', [queue.number])).rows).toEqual([])
  await say('retry', first[1])
  expect(await receive()).toEqual([])
  await halfOpen(queue)
  const [tried, ...none] = await receive()
  expect(none).toEqual([])
  expect(await receive()).toEqual([])
  await say('retry', tried)
  expect(await receive()).toEqual([])
  await halfOpen(queue)
  const [again] = await receive()
  await say('complete', again)
  await halfOpen(queue)
  await until(async () => (await receive()).length > 1)
})

test('at-most-once ends deliveries before they can fail, and refuses a breaker at the start', async () => {
  const queue = await broken()
  const { consumer } = processOn(db.url)
  const starting = consumer(queue, { guarantee: 'at-most-once' })
    .otherwise(() => {})
    .start()
  await expect(starting).rejects.toThrow(NotSupported)
})
