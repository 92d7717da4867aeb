import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Guarantee } from '../../src/consumer.ts'
import { InvalidOption } from '../../src/errors.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import {
  accountOf,
  drained,
  EFFECT,
  effectsOf,
  endsOf,
  gate,
  makeQueue,
  processOn,
  publish,
  publishReady,
} from './bench.ts'

const GUARANTEES: readonly Guarantee[] = ['exactly-once-effects', 'at-least-once', 'at-most-once']

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

describe.each(GUARANTEES)('%s', (guarantee) => {
  test('a paused queue is consumed by no process, also by one that starts later, until it is resumed', async () => {
    const queue = await makeQueue(db.pool)
    const [one, two, late] = [processOn(db.url), processOn(db.url), processOn(db.url)]
    for (const { consumer } of [one, two])
      await consumer(queue, { guarantee })
        .otherwise(() => {})
        .start()
    const operator = one.operate(queue)
    await operator.pause({ reason: 'the bank is down', by: 'ada' })
    await until(() => one.told('paused').length === 1 && two.told('paused').length === 1)

    await publishReady(db.pool, queue, 30)
    await late
      .consumer(queue, { guarantee })
      .otherwise(() => {})
      .start()
    one.claims.look()
    await until(() => late.told('paused').length === 1)
    expect(await endsOf(db.pool, queue)).toBe(0)
    expect(one.told('paused')).toEqual([
      { queue: queue.name, source: 'operator', forMs: null, reason: 'the bank is down' },
    ])
    expect((await operator.status()).paused).toEqual({
      source: 'operator',
      until: null,
      reason: 'the bank is down',
      by: 'ada',
    })

    expect(await operator.resume()).toBe(true)
    await drained(db.pool, queue, 30)
    expect(await operator.resume()).toBe(false)
    expect((await operator.status()).paused).toBe(null)
  })

  test('what is being claimed when the queue is paused goes back unattempted', async () => {
    const queue = await makeQueue(db.pool)
    await publishReady(db.pool, queue, 3)
    const { consumer, operate, told } = processOn(db.url)
    const operator = operate(queue)
    const attempts: number[] = []
    await using blocker = await locked(db.pool)
    await consumer(queue, { guarantee })
      .otherwise(({ attempt }) => void attempts.push(attempt))
      .start()
    await until(async () => (await blocker.waiting()) > 0)
    await operator.pause({ reason: 'the bank is down' })
    await until(() => told('paused').length === 1)
    await blocker.release()
    await until(async () => {
      const { ready, scheduled } = await accountOf(db.pool, queue)
      return (await claimsOpen(db.pool)) === 0 && ready + scheduled === 3
    })
    expect(attempts).toEqual([])
    await operator.resume()
    await drained(db.pool, queue, 3)
    expect(attempts).toEqual([1, 1, 1])
  })
})

test('a pause for a time ends by itself', async () => {
  const queue = await makeQueue(db.pool)
  const { consumer, operate: operator, told } = processOn(db.url)
  await operator(queue).pause({ forMs: 300 })
  await consumer(queue)
    .otherwise(() => {})
    .start()
  await publish(db.pool, queue, 3)
  await drained(db.pool, queue, 3)
  expect(told('paused')).toHaveLength(1)
  expect(told('resumed')).toHaveLength(1)
})

test('other languages obey: nothing is received from a paused queue', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 1)
  await db.pool.query('select posthaste.pause($1, $2, $3)', [queue.name, 'night', '1 hour'])
  const received = () => db.pool.query('select lease_id from posthaste.receive($1, 10)', [queue.name])
  expect((await received()).rows).toEqual([])
  await db.pool.query('select posthaste.resume($1)', [queue.name])
  expect((await received()).rows).toHaveLength(1)
})

describe('a handler that pauses its queue', () => {
  test.each(['exactly-once-effects', 'at-least-once'] as const)(
    'uses no attempt, and stops every process (%s)',
    async (guarantee) => {
      const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
      const [one, two] = [processOn(db.url), processOn(db.url)]
      let out = true
      let called = 0
      for (const { consumer } of [one, two])
        await consumer(queue, { guarantee, concurrency: 1, batchSize: 10 })
          .otherwise(async (delivery) => {
            if (!out) return
            called += 1
            return delivery.pause({ forMs: 3_600_000, reason: 'the bank is down' })
          })
          .start()
      await publishReady(db.pool, queue, 100)
      one.claims.wake([queue.number])
      await until(() => one.told('paused').length === 1 && two.told('paused').length === 1)
      await until(async () => {
        const { ready, leased, scheduled } = await accountOf(db.pool, queue)
        return leased === 0 && ready + scheduled === 100
      })
      // each process had one handler at work when the first one paused
      expect(called).toBeLessThanOrEqual(2)
      out = false
      await one.operate(queue).resume()
      await drained(db.pool, queue, 100)
      expect((await accountOf(db.pool, queue)).dead).toBe(0)
      expect([...one.told('retried'), ...two.told('retried')]).toEqual([])
    },
  )

  test('leaves nothing of what it wrote before', async () => {
    const queue = await makeQueue(db.pool)
    const { consumer, operate: operator, told } = processOn(db.url)
    let calls = 0
    await consumer(queue)
      .otherwise(async (delivery, { tx }) => {
        calls += 1
        await tx.query(EFFECT, [queue.name, delivery.id, calls])
        if (calls === 1) return delivery.pause({ forMs: 3_600_000 })
      })
      .start()
    const [id] = await publish(db.pool, queue, 1)
    await until(() => told('paused').length === 1)
    await until(async () => (await accountOf(db.pool, queue)).ready === 1)
    expect(await effectsOf(db.pool, queue)).toEqual(new Map())
    await operator(queue).resume()
    await drained(db.pool, queue, 1)
    expect(await effectsOf(db.pool, queue)).toEqual(new Map([[id, 1]]))
  })

  test('says for how long: nothing, a negative time and no number are refused', async () => {
    const queue = await makeQueue(db.pool)
    const { consumer, told } = processOn(db.url)
    const refused: unknown[] = []
    const done = gate()
    await consumer(queue)
      .otherwise((delivery) => {
        for (const forMs of [0, -5, Number.NaN, Number.POSITIVE_INFINITY, '5' as never])
          try {
            delivery.pause({ forMs })
          } catch (error) {
            refused.push(error)
          }
        done.open()
      })
      .start()
    await publish(db.pool, queue, 1)
    await done.opened
    await drained(db.pool, queue, 1)
    expect(refused).toHaveLength(5)
    for (const error of refused) expect(error).toBeInstanceOf(InvalidOption)
    expect(told('paused')).toEqual([])
  })
})

test('a pause of a batch gives the others back as they were, and audit accounts for all', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 10)
  const { consumer, told } = processOn(db.url, { relay: false })
  let calls = 0
  await consumer(queue, { concurrency: 1, batchSize: 10 })
    .otherwise((delivery) => {
      calls += 1
      return calls === 3 ? delivery.pause({ forMs: 3_600_000 }) : undefined
    })
    .start()
  await until(() => told('completed').length === 2)
  await until(async () => (await accountOf(db.pool, queue)).scheduled === 8)
  const { rows } = await db.pool.query('select attempts from posthaste.scheduled where queue = $1', [queue.number])
  expect(rows).toEqual(Array(8).fill({ attempts: 0 }))
  const audited = await db.pool.query(`select difference from posthaste.audit() where name = $1`, [queue.name])
  expect(audited.rows).toEqual([{ difference: '0' }])
})

/** Nobody claims anything until it is released. */
async function locked(pool: TestDatabase['pool']) {
  const client = await pool.connect()
  await client.query('begin')
  await client.query('lock table posthaste.ready in exclusive mode')
  let held = true
  const release = async () => {
    if (held) await client.query('rollback')
    if (held) client.release()
    held = false
  }
  const waiting = async () => {
    const { rows } = await client.query(
      `select count(*)::int as n from pg_locks where relation = 'posthaste.ready'::regclass and not granted`,
    )
    return rows[0].n as number
  }
  return { release, waiting, [Symbol.asyncDispose]: release }
}

/** How many transactions have a claim under way, or have not yet ended what it brought. */
async function claimsOpen(pool: TestDatabase['pool']): Promise<number> {
  const { rows } = await pool.query(
    `select count(*)::int as n from pg_stat_activity
     where datname = current_database() and xact_start is not null and pid <> pg_backend_pid() and query ~ 'claim|lease'`,
  )
  return rows[0].n
}
