import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { NotSupported } from '../../src/errors.ts'
import { takeTokens } from '../../src/postgres/claim.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import {
  accountOf,
  drained,
  EFFECT,
  effectsOf,
  gate,
  makeQueue,
  processOn,
  publish,
  publishReady,
  type TestQueue,
} from '../consumer/bench.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { firstLine } from '../support/process.ts'
import { until } from '../support/until.ts'

const CHILD = fileURLToPath(new URL('limits-child.ts', import.meta.url))

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

/** How many handlers run at the same time, in all and per key, at most. */
function gauge() {
  const running = new Map<string, number>()
  const most = new Map<string, number>()
  const add = (key: string, n: number) => {
    const now = (running.get(key) ?? 0) + n
    running.set(key, now)
    most.set(key, Math.max(most.get(key) ?? 0, now))
  }
  const during = async (key: string, work: () => Promise<unknown>) => {
    for (const each of ['all', key]) add(each, 1)
    await work()
    for (const each of ['all', key]) add(each, -1)
  }
  return { most, during }
}

async function balanced(queue: TestQueue): Promise<void> {
  const { rows } = await db.pool.query('select difference from posthaste.audit() where name = $1', [queue.name])
  expect(rows).toEqual([{ difference: '0' }])
}

const breath = () => new Promise((resolve) => setImmediate(resolve))

describe.each(['exactly-once-effects', 'at-least-once'] as const)('%s', (guarantee) => {
  test('no more than maxConcurrency deliveries are attempted at a time, over all processes, and every one once', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxConcurrency: 3 } })
    const ids = await publishReady(db.pool, queue, 120)
    const { most, during } = gauge()
    for (const { consumer, pool } of [processOn(db.url), processOn(db.url), processOn(db.url)])
      await consumer(queue, { guarantee, concurrency: 5, batchSize: 4 })
        .otherwise(({ id }) =>
          during('-', async () => {
            await pool.query(EFFECT, [queue.name, id, 0])
            await breath()
          }),
        )
        .start()
    await drained(db.pool, queue, 120)
    expect(most.get('all')).toBeLessThanOrEqual(3)
    expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
    await balanced(queue)
  })

  test('no more than maxConcurrencyPerKey deliveries of one key are, and messages without a key are not limited', async () => {
    const queue = await makeQueue(db.pool, { flow: { maxConcurrencyPerKey: 1 } })
    const keyOf = (n: number) => (n % 4 === 3 ? undefined : `k${n % 4}`)
    const ids = await publishReady(db.pool, queue, 120, (n) => {
      const key = keyOf(n)
      return key === undefined ? {} : { key }
    })
    const { most, during } = gauge()
    for (const { consumer, pool } of [processOn(db.url), processOn(db.url), processOn(db.url)])
      await consumer(queue, { guarantee, concurrency: 5, batchSize: 4 })
        .otherwise(({ id, key }) =>
          during(key ?? '-', async () => {
            await pool.query(EFFECT, [queue.name, id, 0])
            await breath()
          }),
        )
        .start()
    await drained(db.pool, queue, 120)
    for (const key of ['k0', 'k1', 'k2']) expect(most.get(key)).toBe(1)
    expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
    await balanced(queue)
    const { rows } = await db.pool.query('select count(*)::int as n from posthaste.lines where queue = $1', [
      queue.number,
    ])
    expect(rows[0].n).toBe(0)
  })
})

test('leases and transactions share the places of a queue', async () => {
  const queue = await makeQueue(db.pool, { flow: { maxConcurrency: 2 } })
  await publishReady(db.pool, queue, 10)
  const { consumer, told } = processOn(db.url)
  const held = gate()
  const receive = () =>
    db.pool.query('select lease_id, token, position from posthaste.receive($1, 10, $2)', [queue.name, '1 hour'])
  const first = await receive()
  expect(first.rows).toHaveLength(2)
  await consumer(queue, { concurrency: 5, batchSize: 1 })
    .otherwise(async () => held.opened)
    .start()
  expect((await receive()).rows).toHaveLength(0)
  expect(told('attempt-started')).toHaveLength(0)
  const { lease_id, token, position } = first.rows[0]
  await db.pool.query('select posthaste.complete($1, $2, $3)', [lease_id, token, position])
  await until(() => told('attempt-started').length === 1)
  expect((await receive()).rows).toHaveLength(0)
  held.open()
  await until(() => told('completed').length >= 3)
})

test('a process that is killed gives back its places at once', async () => {
  const queue = await makeQueue(db.pool, { flow: { maxConcurrency: 1 } })
  await publishReady(db.pool, queue, 5)
  const child = spawn(process.execPath, [CHILD, JSON.stringify({ url: db.url, queue })], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await firstLine(child)
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { concurrency: 3, batchSize: 1 })
    .otherwise(() => {})
    .start()
  expect(told('attempt-started')).toHaveLength(0)
  child.kill('SIGKILL')
  await drained(db.pool, queue, 5, 5_000)
  expect(told('crash-counted')).toHaveLength(1)
  await balanced(queue)
})

test('at-most-once cannot keep a limit of attempts, and says so at the start', async () => {
  const queue = await makeQueue(db.pool, { flow: { maxConcurrency: 2 } })
  const { consumer } = processOn(db.url)
  const starting = consumer(queue, { guarantee: 'at-most-once' })
    .otherwise(() => {})
    .start()
  await expect(starting).rejects.toThrow(NotSupported)
})

describe('a rate limit', () => {
  test('grants no more in any window, over all sessions, and gives back what was not spent', async () => {
    const queue = await makeQueue(db.pool, { flow: { rateLimit: { messages: 10, perMs: 3_600_000 } } })
    const take = async (wanted: number) => {
      const { text, values, decode } = takeTokens(tablesOf('posthaste'), { queue: queue.number, wanted })
      return decode!((await db.pool.query(text, [...values])).rows[0])
    }
    expect((await take(7)).granted).toBe(7)
    const rest = await take(7)
    expect(rest.granted).toBe(3)
    const none = await take(1)
    expect(none.granted).toBe(0)
    expect(none.waitMs).toBeGreaterThan(3_000_000)
    await db.pool.query('select posthaste.give_tokens($1, $2, 2)', [queue.number, rest.at])
    expect((await take(7)).granted).toBe(2)
    await db.pool.query(`update posthaste.spent set at = at - interval '2 hours' where queue = $1`, [queue.number])
    expect((await take(20)).granted).toBe(10)
  })

  test.each(['exactly-once-effects', 'at-least-once', 'at-most-once'] as const)(
    'holds for all processes together (%s)',
    async (guarantee) => {
      const perMs = 400
      const queue = await makeQueue(db.pool, { flow: { rateLimit: { messages: 10, perMs } } })
      await publishReady(db.pool, queue, 35)
      for (const { consumer } of [processOn(db.url), processOn(db.url), processOn(db.url)])
        await consumer(queue, { guarantee, concurrency: 2, batchSize: 5 })
          .otherwise(() => {})
          .start()
      await drained(db.pool, queue, 35)
      const { rows } = await db.pool.query(
        `select max(n)::int as most from (
           select sum(n) over (partition by queue order by at range between $2::interval preceding and current row) as n
           from posthaste.spent where queue = $1
         ) w`,
        [queue.number, `${perMs - 1} milliseconds`],
      )
      expect(rows[0].most).toBeLessThanOrEqual(10)
      await balanced(queue)
    },
  )
})

describe('fair turns', () => {
  test.each(['exactly-once-effects', 'at-least-once', 'at-most-once'] as const)(
    'one key’s flood does not starve another’s ten (%s)',
    async (guarantee) => {
      const queue = await makeQueue(db.pool, { flow: { fair: true } })
      await publishReady(db.pool, queue, 2_000, () => ({ key: 'flood' }))
      await publishReady(db.pool, queue, 100, (n) => ({ key: `quiet${n % 10}` }))
      const order: string[] = []
      const { consumer } = processOn(db.url)
      await consumer(queue, { guarantee, concurrency: 2, batchSize: 11 })
        .otherwise(({ key }) => void order.push(key!))
        .start()
      await until(() => order.filter((key) => key !== 'flood').length === 100)
      expect(order.filter((key) => key === 'flood').length).toBeLessThan(400)
      await drained(db.pool, queue, 2_100)
      await balanced(queue)
    },
  )

  test('a key of weight 3 has three deliveries to another’s one', async () => {
    const queue = await makeQueue(db.pool, { flow: { fair: { weights: { gold: 3 } } } })
    await publishReady(db.pool, queue, 400, (n) => ({ key: n % 2 === 0 ? 'gold' : 'plain' }))
    const order: string[] = []
    const { consumer } = processOn(db.url)
    await consumer(queue, { concurrency: 1, batchSize: 8 })
      .otherwise(({ key }) => void order.push(key!))
      .start()
    await drained(db.pool, queue, 400)
    const gold = order.slice(0, 160).filter((key) => key === 'gold').length
    expect(gold).toBe(120)
  })

  test('inside a key the most urgent and oldest comes first', async () => {
    const queue = await makeQueue(db.pool, { flow: { fair: true } })
    await publishReady(db.pool, queue, 20, (n) => ({ key: 'k', priority: n % 2 === 0 ? 0 : 9, payload: { n } }))
    const order: number[] = []
    const { consumer } = processOn(db.url)
    await consumer(queue, { concurrency: 1, batchSize: 1 })
      .otherwise(({ payload }) => void order.push((payload as { n: number }).n))
      .start()
    await drained(db.pool, queue, 20)
    const odd = Array.from({ length: 10 }, (_, i) => 2 * i + 1)
    expect(order).toEqual([...odd, ...odd.map((n) => n - 1)])
  })

  test('what is retried, redriven and purged keeps the lines and the account in order', async () => {
    const queue = await makeQueue(db.pool, { flow: { fair: true }, retry: { maxAttempts: 2 } })
    await publish(db.pool, queue, 60, (n) => ({ key: `k${n % 5}`, payload: { n } }))
    const { consumer, operate } = processOn(db.url)
    let broken = true
    await consumer(queue, { batchSize: 7 })
      .otherwise(({ payload }) => {
        if (broken && (payload as { n: number }).n % 3 === 0) throw new Error('broken')
      })
      .start()
    await drained(db.pool, queue, 60)
    expect((await accountOf(db.pool, queue)).dead).toBe(20)
    broken = false
    await operate(queue).deadLetters.redrive({ reason: 'max-attempts' })
    await drained(db.pool, queue, 80)
    await operate(queue).pause()
    await publishReady(db.pool, queue, 10, () => ({ key: 'late' }))
    await operate(queue).purge()
    await balanced(queue)
    // what the consumer took before it heard of the pause stands in line until its transaction ends
    await until(async () => {
      const left = await db.pool.query('select from posthaste.lines where queue = $1', [queue.number])
      return left.rows.length === 0
    })
  })
})

test('a queue that is declared to be fair later puts what it has in lines', async () => {
  const queue = await makeQueue(db.pool)
  await publishReady(db.pool, queue, 30, (n) => ({ key: `k${n % 3}` }))
  const flows = (flow: object) =>
    db.pool.query('select posthaste.put_flows($1)', [JSON.stringify({ [queue.name]: flow })])
  const lines = async () =>
    (await db.pool.query('select count(*)::int as n from posthaste.lines where queue = $1', [queue.number])).rows[0].n
  await flows({ fair: true })
  expect(await lines()).toBe(30)
  const { consumer } = processOn(db.url)
  await consumer(queue)
    .otherwise(() => {})
    .start()
  await drained(db.pool, queue, 30)
  await flows({})
  await publish(db.pool, queue, 10)
  await drained(db.pool, queue, 40)
  expect(await lines()).toBe(0)
})
