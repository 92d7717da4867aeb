import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  accountOf,
  deadLettersOf,
  drained,
  EFFECT,
  effectsOf,
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

/** As if the messages of a queue had been published so long ago. */
async function age(queue: TestQueue, ms: number): Promise<void> {
  await db.pool.query(
    `update posthaste.outbox set published_at = published_at - $2 * interval '1 ms' where routing_key = $1`,
    [queue.name, ms],
  )
}

async function audited(queue: TestQueue) {
  const { rows } = await db.pool.query(
    'select completed::int, dead::int, expired::int, difference::int from posthaste.audit() where name = $1',
    [queue.name],
  )
  return rows[0]
}

describe.each(['exactly-once-effects', 'at-least-once', 'at-most-once'] as const)('%s', (guarantee) => {
  test('what has waited longer than the queue lets it is dropped and counted, and what has not is handled', async () => {
    const queue = await makeQueue(db.pool, { flow: { ttlMs: HOUR } })
    await publishReady(db.pool, queue, 3)
    await age(queue, 2 * HOUR)
    await publishReady(db.pool, queue, 2)
    const { consumer, told } = processOn(db.url)
    await consumer(queue, { guarantee })
      .otherwise(() => {})
      .start()
    await drained(db.pool, queue, 5)
    expect(await audited(queue)).toEqual({ completed: 2, dead: 0, expired: 3, difference: 0 })
    expect(told('expired')).toHaveLength(3)
  })

  test('or is kept as a dead letter, by the policy of the queue: also what its publisher gave less time', async () => {
    const queue = await makeQueue(db.pool, { flow: { ttlMs: HOUR, expired: 'dead-letter' } })
    await publishReady(db.pool, queue, 1)
    await age(queue, 2 * HOUR)
    await publishReady(db.pool, queue, 1, () => ({ expiresInMs: 1 }))
    const { consumer } = processOn(db.url)
    await consumer(queue, { guarantee })
      .otherwise(() => {})
      .start()
    await drained(db.pool, queue, 2)
    const letters = await deadLettersOf(db.pool, queue)
    expect(letters.map(({ reason, attempts }) => ({ reason, attempts }))).toEqual(
      Array(2).fill({ reason: 'expired', attempts: guarantee === 'at-least-once' ? expect.any(Number) : 0 }),
    )
    expect(await audited(queue)).toMatchObject({ dead: 2, expired: 0, difference: 0 })
  })
})

test('other languages obey: what has expired is not received, and is dropped or kept as the queue says', async () => {
  const dropping = await makeQueue(db.pool, { flow: { ttlMs: HOUR } })
  const keeping = await makeQueue(db.pool, { flow: { ttlMs: HOUR, expired: 'dead-letter' } })
  for (const queue of [dropping, keeping]) {
    await publishReady(db.pool, queue, 2)
    await age(queue, 2 * HOUR)
    const { rows } = await db.pool.query('select lease_id from posthaste.receive($1, 10)', [queue.name])
    expect(rows).toEqual([])
  }
  expect(await audited(dropping)).toMatchObject({ expired: 2, dead: 0, difference: 0 })
  expect(await audited(keeping)).toMatchObject({ expired: 0, dead: 2, difference: 0 })
  expect((await deadLettersOf(db.pool, keeping)).map(({ reason }) => reason)).toEqual(['expired', 'expired'])
})

test('the time of a delayed message begins when it is due', async () => {
  const queue = await makeQueue(db.pool, { flow: { ttlMs: HOUR } })
  await publish(db.pool, queue, 1, () => ({ delayMs: HOUR }))
  await until(async () => {
    await db.pool.query('select posthaste.relay_cycle(5000, true)')
    return (await accountOf(db.pool, queue)).scheduled === 1
  })
  // an hour and a half later
  await db.pool.query(
    `update posthaste.outbox set published_at = published_at - interval '90 minutes', deliver_at = deliver_at - interval '90 minutes'
     where routing_key = $1`,
    [queue.name],
  )
  await db.pool.query('update posthaste.scheduled set due_at = clock_timestamp() where queue = $1', [queue.number])
  const { consumer } = processOn(db.url)
  await consumer(queue)
    .otherwise(() => {})
    .start()
  await drained(db.pool, queue, 1)
  expect(await audited(queue)).toMatchObject({ completed: 1, expired: 0 })
})

test('what waits to be retried expires when it is due', async () => {
  const queue = await makeQueue(db.pool, { flow: { ttlMs: HOUR }, retry: { minMs: 300, maxMs: 300, maxAttempts: 50 } })
  await publish(db.pool, queue, 1)
  const { consumer, told } = processOn(db.url)
  await consumer(queue)
    .otherwise(() => {
      throw new Error('not yet')
    })
    .start()
  await until(() => told('retried').length === 1)
  await age(queue, 2 * HOUR)
  await drained(db.pool, queue, 1)
  expect(await audited(queue)).toEqual({ completed: 0, dead: 0, expired: 1, difference: 0 })
})

test('a redriven message runs, though its time was over', async () => {
  const queue = await makeQueue(db.pool, { flow: { ttlMs: HOUR, expired: 'dead-letter' } })
  const [id] = await publishReady(db.pool, queue, 1)
  await age(queue, 2 * HOUR)
  const { consumer, operate } = processOn(db.url)
  await consumer(queue)
    .otherwise(async (delivery, { tx }) => void (await tx.query(EFFECT, [queue.name, delivery.id, 0])))
    .start()
  await drained(db.pool, queue, 1)
  const { deadLetters } = operate(queue)
  await deadLetters.redrive({ reason: 'expired' })
  await drained(db.pool, queue, 2)
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[id, 1]]))
})
