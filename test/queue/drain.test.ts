import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineTopology } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { ROOT } from '../support/process.ts'
import { Order, service, unaccounted } from './bench.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query('create table effects (message_id uuid, n int)')
})
afterAll(() => db.drop())

const one = (name: string) => defineTopology({ queues: { [name]: { retry: { maxAttempts: 2, minMs: 1, maxMs: 1 } } } })
const orders = (queue: string, count: number) =>
  Array.from({ length: count }, (_, n) => Order.create({ n }, { routingKey: queue }))

test('a drain routes what was published, works it off, and claims no more than it may', async () => {
  const { posthaste, publish } = service(db.url, one('drained'))
  await posthaste.declare()
  await publish(...orders('drained', 25))
  posthaste.consumer('drained', { concurrency: 4 }).on(Order, async ({ id, payload }, { tx }) => {
    await tx.query('insert into effects values ($1, $2)', [id, payload.n])
  })
  const queue = posthaste.queue('drained')
  expect(await queue.drain({ maxMessages: 10 })).toEqual({ claimed: 10, ended: 'max-messages' })
  expect((await queue.status()).depth).toBe(15)
  expect(await queue.drain()).toEqual({ claimed: 15, ended: 'empty' })
  expect(await queue.drain()).toEqual({ claimed: 0, ended: 'empty' })
  expect((await db.pool.query('select n from effects order by n')).rows.map(({ n }) => n)).toEqual(
    Array.from({ length: 25 }, (_, n) => n),
  )
  expect(unaccounted(await posthaste.audit())).toEqual([])
})

test.each(['exactly-once-effects', 'at-least-once'] as const)(
  'at its deadline a drain (%s) begins nothing, fires signals, and leaves the rest uncharged',
  async (guarantee) => {
    const { posthaste, publish } = service(db.url, one(`late-${guarantee}`))
    await posthaste.declare()
    await publish(...orders(`late-${guarantee}`, 6))
    const begun: number[] = []
    posthaste
      .consumer(`late-${guarantee}`, { guarantee, concurrency: 1, batchSize: 3 })
      .on(Order, async ({ payload }, { signal }) => {
        begun.push(payload.n)
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      })
    const startedAt = performance.now()
    expect(await posthaste.queue(`late-${guarantee}`).drain({ deadlineMs: 300 })).toMatchObject({ ended: 'deadline' })
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(begun).toEqual([0])
    expect(await posthaste.queue(`late-${guarantee}`).status()).toMatchObject({ depth: 6, leased: 0, dead: 0 })
  },
)

test('what a process died with is charged and attempted by a drain, alone', async () => {
  const { posthaste, publish, pool } = service(db.url, one('suspects'))
  await posthaste.declare()
  await publish(...orders('suspects', 3))
  await pool.query('select posthaste.relay_cycle(100, true)')
  const dying = await pool.connect()
  await dying.query('begin')
  await dying.query(
    `select from posthaste.claim((select id from posthaste.queues where name = 'suspects'), 'suspects', 1, array_fill(0::bigint, array[10]))`,
  )
  await dying.query('rollback')
  dying.release()
  const crashes: number[] = []
  posthaste.consumer('suspects').on(Order, async (delivery) => void crashes.push(delivery.crashes))
  expect(await posthaste.queue('suspects').drain()).toEqual({ claimed: 3, ended: 'empty' })
  expect(crashes.toSorted()).toEqual([0, 0, 1])
})

test('a drain needs handlers, and a consumer that does not run', async () => {
  const { posthaste } = service(db.url, one('nobody'))
  await expect(posthaste.queue('nobody').drain()).rejects.toMatchObject({ code: 'NOT_SUPPORTED' })
  posthaste.consumer('nobody').otherwise(() => {})
  await posthaste.start()
  await expect(posthaste.queue('nobody').drain()).rejects.toMatchObject({ code: 'NOT_SUPPORTED' })
})

test('a process that has drained ends by itself: no timer is left', async () => {
  const { posthaste, publish } = service(db.url, one('lambda'))
  await posthaste.declare()
  await publish(...orders('lambda', 3))
  const child = spawn(process.execPath, [join(ROOT, 'test/queue/lambda.ts'), db.url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let told = ''
  child.stdout.on('data', (data) => (told += data))
  const code = await new Promise((resolve) => child.on('close', resolve))
  expect({ code, ...JSON.parse(told) }).toEqual({ code: 0, claimed: 3, ended: 'empty', timers: 0 })
})
