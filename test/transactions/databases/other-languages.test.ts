import type { StandardSchemaV1 } from '@standard-schema/spec'
import pg from 'pg'
import postgres from 'postgres'
import { expect, test } from 'vitest'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../../src/index.ts'
import { createDatabase } from '../../support/database.ts'
import { until } from '../../support/until.ts'

const anything: StandardSchemaV1<{ n: number }> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as { n: number } }) },
}
const Job = defineMessage('job', anything)
const JOBS = 40

test('postgres.js consumes with the functions of the schema beside TypeScript on one queue, each message once', async () => {
  await using db = await createDatabase()
  await db.pool.query('create table effects (who text, n int)')
  const pool = new pg.Pool({ connectionString: db.url })
  pool.on('error', () => {})
  const database = pgDatabase(pool)
  const topology = defineTopology({ queues: { jobs: { from: [Job] } } })
  const posthaste = new Posthaste({ database, topology })
  posthaste.consumer('jobs', { concurrency: 1, batchSize: 2 }).on(Job, async ({ payload }, { tx }) => {
    await tx.query(`insert into effects values ('typescript', $1)`, [payload.n])
  })
  await posthaste.declare()
  const messages = Array.from({ length: JOBS }, (_, n) => Job.create({ n }))
  await database.transaction((tx) => posthaste.publish(tx, messages))
  await db.pool.query('select posthaste.relay_cycle(1000, true)')

  const sql = postgres(db.url, { onnotice: () => {} })
  const work = () =>
    sql.begin(async (tx) => {
      const received = await tx`select * from posthaste.receive('jobs', 3, '30 seconds')`
      for (const { lease_id, token, position, payload } of received) {
        await tx`insert into effects values ('postgres.js', ${payload.n})`
        await tx`select posthaste.complete(${lease_id}, ${token}, ${position})`
      }
      return received.length
    })
  expect(await work()).toBe(3)
  await posthaste.start()
  while ((await work()) > 0);
  await until(async () => (await sql`select posthaste.backlog('jobs')::int as n`)[0]!.n === 0)
  const effects = await sql`select who, n from effects order by n`
  expect(effects.map(({ n }) => n)).toEqual(Array.from({ length: JOBS }, (_, n) => n))
  expect((await posthaste.audit()).difference).toBe(0)
  await posthaste.stop()
  await sql.end()
  await pool.end()
})
