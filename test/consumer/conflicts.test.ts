import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import {
  accountOf,
  deadLettersOf,
  drained,
  EFFECT,
  effectsOf,
  makeQueue,
  type Numbered,
  processOn,
  publishReady,
} from './bench.ts'

const EMPTY = { ready: 0, scheduled: 0, leased: 0, dead: 0 }

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query('create table hot (id int primary key, n int not null default 0)')
  await db.pool.query('insert into hot select generate_series(1, 20)')
  await db.pool.query(`alter database ${new URL(db.url).pathname.slice(1)} set deadlock_timeout = '20ms'`)
})
afterAll(() => db.drop())

test('batches that update the same rows in different orders use no attempt up, and all is done', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  console.log(`seed ${seed}`)
  const random = seeded(seed)
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  const rowOf = Array.from({ length: 300 }, () => 1 + Math.floor(random() * 20))
  const ids = await publishReady(db.pool, queue, 300)
  const processes = [processOn(db.url), processOn(db.url)]
  for (const { consumer } of processes) {
    await consumer(queue, { concurrency: 4, batchSize: 20 })
      .otherwise(async ({ id, payload }, { tx }) => {
        const { n } = payload as Numbered
        await tx.query('update hot set n = n + 1 where id = $1', [rowOf[n]])
        await tx.query(EFFECT, [queue.name, id, n])
      })
      .start()
  }
  await drained(db.pool, queue, 300, 25_000)

  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
  expect(
    processes.flatMap(({ told }) => [...told('retried'), ...told('dead-lettered'), ...told('crash-counted')]),
  ).toEqual([])
  expect(processes.flatMap(({ told }) => told('attempt-repeated')).length).toBeGreaterThan(0)
  const { rows } = await db.pool.query('select sum(n)::int as n from hot')
  expect(rows[0].n).toBe(300)
  expect(await accountOf(db.pool, queue)).toEqual(EMPTY)
})

test('a conflict that does not end makes room for others, and uses no attempt', async () => {
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  const [stuck, other] = await publishReady(db.pool, queue, 2)
  const blocker = await db.pool.connect()
  await blocker.query('begin')
  await blocker.query('select from hot where id = 1 for update')
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { concurrency: 1, batchSize: 2 })
    .otherwise(async ({ id, payload }, { tx }) => {
      const { n } = payload as Numbered
      await tx.query(`set local lock_timeout = '5ms'`)
      if (n === 0) await tx.query('update hot set n = n + 1 where id = 1')
      await tx.query(EFFECT, [queue.name, id, n])
    })
    .start()
  await until(async () => (await effectsOf(db.pool, queue)).has(other!))
  expect(told('retried')).toEqual([])
  await blocker.query('rollback')
  blocker.release()
  await drained(db.pool, queue, 2)
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([stuck, other].map((id) => [id, 1])))
  expect(told('attempt-repeated').every(({ error }) => error.code === '55P03')).toBe(true)
})

test('a deferred constraint that COMMIT finds violated fails the attempt that did it, and no other', async () => {
  await db.pool.query('create table parents (id int primary key)')
  await db.pool.query('create table children (parent int references parents deferrable initially deferred)')
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 2 } })
  const ids = await publishReady(db.pool, queue, 10)
  const { consumer, told } = processOn(db.url)
  await consumer(queue, { concurrency: 1, batchSize: 10 })
    .otherwise(async ({ id, payload }, { tx }) => {
      const { n } = payload as Numbered
      if (n === 6) await tx.query('insert into children values (1)')
      await tx.query(EFFECT, [queue.name, id, n])
    })
    .start()
  await drained(db.pool, queue, 10)

  expect(await deadLettersOf(db.pool, queue)).toMatchObject([
    { message_id: ids[6], reason: 'max-attempts', attempts: 2, history: [{ code: '23503' }, { code: '23503' }] },
  ])
  expect(JSON.stringify(await deadLettersOf(db.pool, queue))).not.toContain('Key (parent)')
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.filter((_, n) => n !== 6).map((id) => [id, 1])))
  expect(told('retried')).toHaveLength(1)
})
