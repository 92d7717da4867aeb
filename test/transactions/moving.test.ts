// The statements of docs/moving.md, run on the jobs of the queues they take over from.
import { makeWorkerUtils, runOnce } from 'graphile-worker'
import { PgBoss } from 'pg-boss'
import { expect, test } from 'vitest'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { BLOCKS } from '../docs/blocks.ts'
import { createDatabase, leftByAll, type TestDatabase } from '../support/database.ts'

const HOUR_S = 3_600

function statement(schema: string): string {
  return BLOCKS.find(
    ({ page, language, text }) => page === 'docs/moving.md' && language === 'sql' && text.includes(schema),
  )!.text
}

async function move(database: TestDatabase, schema: string): Promise<number> {
  await new Posthaste({
    database: pgDatabase(database.pool),
    topology: defineTopology({ queues: { billing: {} } }),
  }).declare()
  const { rows } = await database.pool.query(statement(schema))
  return Number(rows[0].count)
}

async function moved(database: TestDatabase) {
  const { rows } = await database.pool.query(
    `select payload ->> 'orderId' as order, deliver_at is not null as delayed from posthaste.outbox order by 1`,
  )
  return rows
}

test('what pg-boss has not begun is moved once, and what it has begun is left to it', async () => {
  await using database = await createDatabase()
  const boss = new PgBoss(database.url)
  boss.on('error', () => {})
  await boss.start()
  await boss.createQueue('billing')
  await boss.send('billing', { orderId: 'begun' })
  await boss.fetch('billing')
  await boss.send('billing', { orderId: 'waits' })
  await boss.send('billing', { orderId: 'delayed' }, { startAfter: HOUR_S, priority: 100 })

  expect(await move(database, 'pgboss')).toBe(2)
  expect(await move(database, 'pgboss')).toBe(0)
  expect(await moved(database)).toEqual([
    { order: 'delayed', delayed: true },
    { order: 'waits', delayed: false },
  ])
  const left = await database.pool.query(`select data ->> 'orderId' as order, state::text from pgboss.job`)
  expect(left.rows).toEqual([{ order: 'begun', state: 'active' }])
  await boss.stop({ graceful: false })
  await leftByAll(database)
})

test('what graphile-worker has not begun is moved once, and what it has begun is left to it', async () => {
  await using database = await createDatabase()
  const utils = await makeWorkerUtils({ connectionString: database.url })
  await utils.migrate()
  await utils.addJob('billing', { orderId: 'begun' })
  let moves: number[] = []
  await runOnce({
    connectionString: database.url,
    noHandleSignals: true,
    taskList: {
      billing: async () => {
        await utils.addJob('billing', { orderId: 'waits' }, { runAt: new Date(Date.now() - 1_000) })
        await utils.addJob('billing', { orderId: 'delayed' }, { runAt: new Date(Date.now() + HOUR_S * 1_000) })
        moves = [await move(database, 'graphile_worker'), await move(database, 'graphile_worker')]
      },
    },
  })
  expect(moves).toEqual([2, 0])
  expect(await moved(database)).toEqual([
    { order: 'delayed', delayed: true },
    { order: 'waits', delayed: false },
  ])
  expect((await database.pool.query('select from graphile_worker._private_jobs')).rowCount).toBe(0)
  await utils.release()
  await leftByAll(database)
})
