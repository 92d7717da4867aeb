import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineTopology } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import { Order, route, service, unaccounted } from './bench.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query('create table effects (message_id uuid, n int)')
})
afterAll(() => db.drop())

const one = (name: string, retry = {}) =>
  defineTopology({ queues: { [name]: { retry: { minMs: 1, maxMs: 5, ...retry } } } })
const orders = (queue: string, count: number) =>
  Array.from({ length: count }, (_, n) => Order.create({ n }, { routingKey: queue }))
const lapse = () => db.pool.query(`update posthaste.leases set expires_at = clock_timestamp() - interval '1 s'`)

test('what is received is nobody else’s until it is settled, and settles once', async () => {
  const { posthaste, publish } = service(db.url, one('mine'))
  await posthaste.declare()
  await publish(...orders('mine', 3))
  await route(db.pool)
  const queue = posthaste.queue('mine')
  const [first, second] = await queue.receive({ max: 2 })
  expect(first).toMatchObject({
    type: 'order.placed',
    payload: { n: 0 },
    attempt: 1,
    redelivered: false,
    queue: 'mine',
  })
  expect(await queue.receive({ max: 10 })).toHaveLength(1)
  expect(await queue.receive()).toEqual([])
  await first!.complete()
  await expect(first!.complete()).rejects.toMatchObject({ code: 'LEASE_LOST' })
  await second!.discard('not wanted')
  await lapse()
  expect(await queue.status()).toMatchObject({ depth: 1, leased: 1 })
  expect(unaccounted(await posthaste.audit())).toEqual([])
})

test('work given to complete is committed with the end of the delivery, and not at all once the lease is lost', async () => {
  const { posthaste, publish } = service(db.url, one('effects'))
  await posthaste.declare()
  const [a, b] = await publish(...orders('effects', 2))
  await route(db.pool)
  const received = await posthaste.queue('effects').receive({ max: 2 })
  const effect = (delivery: (typeof received)[number]) =>
    delivery.complete(async (tx, send) => {
      await tx.query('insert into effects values ($1, $2)', [delivery.id, 1])
      await send({ type: 'done', routingKey: 'effects', payload: {} })
      return 'worked'
    })
  expect(await effect(received[0]!)).toBe('worked')
  await lapse()
  await expect(effect(received[1]!)).rejects.toMatchObject({ code: 'LEASE_LOST' })
  await expect(received[1]!.retry()).rejects.toMatchObject({ code: 'LEASE_LOST' })
  await expect(received[1]!.extend(1_000)).rejects.toMatchObject({ code: 'LEASE_LOST' })
  const { rows } = await db.pool.query('select message_id from effects where message_id = any ($1)', [[a!.id, b!.id]])
  expect(rows).toEqual([{ message_id: a!.id }])
  await db.pool.query('select posthaste.recover_leases(100)')
  await route(db.pool)
  const [done, again] = (await posthaste.queue('effects').receive({ max: 10 })).sort((x) =>
    x.type === 'done' ? -1 : 1,
  )
  expect(done).toMatchObject({ type: 'done', causationId: a!.id, correlationId: a!.id })
  expect(again).toMatchObject({ id: b!.id, attempt: 2, redelivered: true })
})

test('a message that was processed before is settled on the way and not handed out', async () => {
  const { posthaste, publish } = service(db.url, one('twice'))
  await posthaste.declare()
  await publish(...orders('twice', 1))
  await route(db.pool)
  await db.pool.query(`
    insert into posthaste.ready (queue, priority, message, message_id)
    select queue, priority, message, message_id from posthaste.ready where queue = (select id from posthaste.queues where name = 'twice');
    select posthaste.count_queue((select id from posthaste.queues where name = 'twice'), 'routed', 1)`)
  const [first, ...others] = await posthaste.queue('twice').receive()
  expect(others).toEqual([])
  await first!.complete(async () => {})
  expect(await posthaste.queue('twice').receive({ max: 5 })).toEqual([])
  expect((await posthaste.queue('twice').status()).leased).toBe(0)
})

test('retry follows the policy of the queue, and the last attempt is a dead letter', async () => {
  const { posthaste, publish } = service(db.url, one('again', { maxAttempts: 2 }))
  await posthaste.start({ consumers: false })
  await publish(...orders('again', 1))
  const queue = posthaste.queue('again')
  for (const attempt of [1, 2]) {
    const [delivery] = await queue.receive({ waitMs: 10_000 })
    expect(delivery).toMatchObject({ attempt, maxAttempts: 2 })
    await delivery!.retry()
  }
  expect(await queue.deadLetters.list()).toMatchObject([{ reason: 'max-attempts', attempts: 2 }])
})

test('a receive that waits is answered when there is something, and ends empty when there is nothing or its signal fires', async () => {
  const { posthaste, publish } = service(db.url, one('awaited'))
  await posthaste.start({ consumers: false })
  const queue = posthaste.queue('awaited')
  const waiting = queue.receive({ max: 5, waitMs: 20_000 })
  await publish(...orders('awaited', 1))
  const [delivery] = await waiting
  await delivery!.complete()
  expect(await queue.receive({ waitMs: 30 })).toEqual([])
  const stop = new AbortController()
  const stopped = queue.receive({ waitMs: 60_000, signal: stop.signal })
  stop.abort()
  expect(await stopped).toEqual([])
})

test('what a loop over deliveries leased and did not hand out goes back uncharged when the loop is left', async () => {
  const { posthaste, publish } = service(db.url, one('looped'))
  await posthaste.declare()
  await publish(...orders('looped', 8))
  await route(db.pool)
  const queue = posthaste.queue('looped')
  const seen: number[] = []
  for await (const delivery of queue.deliveries({ prefetch: 5 })) {
    seen.push((delivery.payload as { n: number }).n)
    await delivery.complete()
    if (seen.length === 2) break
  }
  expect(seen).toEqual([0, 1])
  expect(await queue.status()).toMatchObject({ depth: 6, leased: 0 })
  await route(db.pool)
  expect((await queue.receive({ max: 10 })).map(({ attempt }) => attempt)).toEqual(Array(6).fill(1))
})

test('a loop over deliveries goes on until its signal fires', async () => {
  const { posthaste, publish } = service(db.url, one('endless'))
  await posthaste.start({ consumers: false })
  const stop = new AbortController()
  const seen: string[] = []
  const loop = (async () => {
    for await (const delivery of posthaste.queue('endless').deliveries({ signal: stop.signal })) {
      await delivery.complete()
      seen.push(delivery.id)
    }
  })()
  const ids: string[] = []
  for (let n = 0; n < 3; n += 1) {
    ids.push(...(await publish(...orders('endless', 2))).map(({ id }) => id))
    await until(() => seen.length === ids.length)
  }
  stop.abort()
  await loop
  expect(seen).toEqual(ids)
})

test('bad input is refused before anything is leased', async () => {
  const { posthaste } = service(db.url, one('strict'))
  await posthaste.declare()
  const queue = posthaste.queue('strict')
  await expect(queue.receive({ max: 0 })).rejects.toMatchObject({ code: 'INVALID_OPTION', option: 'max' })
  await expect(queue.receive({ waitMs: -1 })).rejects.toMatchObject({ code: 'INVALID_OPTION', option: 'waitMs' })
  await expect(queue.receive({ maximum: 1 } as object)).rejects.toMatchObject({ code: 'UNKNOWN_OPTION' })
  await expect(posthaste.queue('stric' as 'strict').receive()).rejects.toMatchObject({ code: 'UNKNOWN_QUEUE' })
})

test('however callers die or dawdle, the effect of every message happens once and every one is accounted for', async () => {
  const random = seeded(20_261)
  const { posthaste, publish } = service(db.url, one('storm', { maxAttempts: 50 }))
  await posthaste.start({ consumers: false })
  const ids = (await publish(...orders('storm', 150))).map(({ id }) => id)
  const queue = posthaste.queue('storm')
  const settled = async () => {
    const { queues } = await posthaste.audit()
    const { completed, dead } = queues.find((each) => each.queue === 'storm')!
    return completed + dead === ids.length
  }
  const lapsing = setInterval(() => {
    if (random() < 0.3) void lapse().catch(() => {})
  }, 20)
  const puller = async () => {
    while (!(await settled())) {
      for (const delivery of await queue.receive({ max: 1 + Math.floor(random() * 20), leaseMs: 500, waitMs: 50 })) {
        const fate = random()
        if (fate < 0.1) continue
        if (fate < 0.2) await delivery.retry({ delayMs: 1 }).catch(onlyLost)
        else
          await delivery
            .complete(async (tx) => void (await tx.query('insert into effects values ($1, 0)', [delivery.id])))
            .catch(onlyLost)
      }
    }
  }
  await Promise.all([puller(), puller(), puller(), puller()])
  clearInterval(lapsing)
  const { rows } = await db.pool.query(
    'select message_id, count(*)::int as n from effects where message_id = any ($1) group by 1',
    [ids],
  )
  expect(new Map(rows.map(({ message_id, n }) => [message_id, n]))).toEqual(new Map(ids.map((id) => [id, 1])))
  expect(unaccounted(await posthaste.audit())).toEqual([])
})

function onlyLost(error: { code?: string }): void {
  if (error.code !== 'LEASE_LOST') throw error
}
