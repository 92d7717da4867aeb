import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { proxyBefore } from '../support/proxy.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import {
  accountOf,
  drained,
  EFFECT,
  effectsOf,
  endsOf,
  makeQueue,
  type Numbered,
  processOn,
  publishReady,
} from './bench.ts'

const EMPTY = { ready: 0, scheduled: 0, leased: 0, dead: 0 }

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

describe.each(['before', 'after'] as const)('a COMMIT that is cut on the wire %s the server has seen it', (when) => {
  test('leaves one effect per message, and nobody is charged', async () => {
    await using proxy = await proxyBefore(db.url)
    const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
    const ids = await publishReady(db.pool, queue, 60)
    const { consumer, told } = processOn(proxy.url, { relay: false })
    proxy.cutCommits(when, 5)
    await consumer(queue, { concurrency: 2, batchSize: 5 })
      .otherwise(async ({ id, payload }, { tx }) => {
        await tx.query(EFFECT, [queue.name, id, (payload as Numbered).n])
      })
      .start()
    await drained(db.pool, queue, 60)
    expect(proxy.toBeCut).toBe(0)
    expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
    expect(await endsOf(db.pool, queue)).toBe(60)
    expect([...told('retried'), ...told('crash-counted'), ...told('dead-lettered')]).toEqual([])
    expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
  })
})

test('backends that are terminated in the middle of batches use no attempt up', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  console.log(`seed ${seed}`)
  const random = seeded(seed)
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  const ids = await publishReady(db.pool, queue, 400)
  const { consumer, told } = processOn(db.url)
  let terminated = 0
  await consumer(queue, { concurrency: 3, batchSize: 10 })
    .otherwise(async ({ id, payload }, { tx }) => {
      await tx.query(EFFECT, [queue.name, id, (payload as Numbered).n])
      if (random() > 0.03 || terminated > 15) return
      terminated += 1
      await tx.query('select pg_terminate_backend(pg_backend_pid())')
    })
    .start()
  await drained(db.pool, queue, 400)
  expect(terminated).toBeGreaterThan(0)
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
  expect([...told('retried'), ...told('dead-lettered'), ...told('crash-counted')]).toEqual([])
  await until(() => told('completed').length === 400)
})

test('a connection that is cut while start declares is no reason not to start', async () => {
  const pool = new pg.Pool({ connectionString: db.url })
  const database = pgDatabase(pool)
  const { transaction } = database
  let cuts = 0
  database.transaction = (work, options) =>
    transaction.call(
      database,
      async (tx) => {
        cuts += 1
        if (cuts <= 2)
          await db.pool.query('select pg_terminate_backend($1)', [(tx as { processID?: number }).processID])
        return (await work(tx)) as never
      },
      options,
    ) as never
  const topology = defineTopology({ queues: { declared: {} } })
  const posthaste = new Posthaste({ database, topology })
  await posthaste.start({ relay: false })
  expect(cuts).toBeGreaterThan(2)
  expect((await posthaste.topology()).queues.map(({ name }) => name)).toContain('declared')
  await posthaste.stop()
  await pool.end()
})
