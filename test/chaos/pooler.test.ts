import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { type Events, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase } from '../support/database.ts'
import { transactionPooler } from '../support/transaction-pooler.ts'
import { until } from '../support/until.ts'
import { judge, place, serve, TABLES, topology } from './shop.ts'

describe('behind a pooler in transaction mode', () => {
  it('everything works on polling, and says so', async () => {
    const { polling, verdict } = await through({})
    expect(verdict).toEqual({ orders: 60, lost: 0, doubled: 0, phantom: 0, difference: 0, waiting: 0 })
    expect(polling.length).toBeGreaterThan(0)
  })

  it('listenUrl gives the direct connection: notifications arrive', async () => {
    const { verdict, listening } = await through({ direct: true })
    expect(verdict).toMatchObject({ orders: 60, lost: 0, doubled: 0, difference: 0 })
    expect(listening).toBe(true)
  })
})

async function through({ direct = false }: { direct?: boolean }) {
  await using database = await createDatabase()
  await database.pool.query(TABLES)
  await using pooler = await transactionPooler(database.url)
  const pool = new pg.Pool({ connectionString: pooler.url, max: 10 })
  pool.on('error', () => {})
  const posthaste = new Posthaste({
    database: pgDatabase(pool),
    topology,
    ...(direct ? { listenUrl: database.url } : {}),
  })
  const polling: Events['polling'][] = []
  let listening = false
  posthaste.on('polling', (event) => polling.push(event))
  posthaste.on('listening', () => {
    listening = true
  })
  const shop = { pool, posthaste, close: () => posthaste.stop() }
  serve(shop)
  await posthaste.start()
  if (direct) await until(() => listening, { what: 'notifications' })

  for (let order = 0; order < 60; order += 4) {
    await Promise.all([0, 1, 2, 3].map((n) => place(shop, order + n)))
  }
  await until(async () => (await judge(database.pool)).lost === 0, { timeoutMs: 30_000, what: 'every effect' })
  await until(async () => (await judge(database.pool)).waiting === 0, { what: 'the queues to be empty' })
  const verdict = await judge(database.pool)
  await posthaste.stop()
  await pool.end()
  return { polling, listening, verdict }
}
