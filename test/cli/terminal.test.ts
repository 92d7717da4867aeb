import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { progressLine } from '../../src/cli/progress.ts'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { atTerminal, noTerminal } from '../support/terminal.ts'
import { until } from '../support/until.ts'

vi.setConfig({ testTimeout: 120_000 })

const topology = defineTopology({ queues: { billing: {} } })

let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
  const posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
  await posthaste.declare()
  const messages = Array.from({ length: 3 }, () => ({ type: 'billing', payload: {} }))
  await pgDatabase(database.pool).transaction((tx) => posthaste.publish(tx, messages))
  await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
  await database.pool.query(
    `select posthaste.dead_letter(lease_id, token, position, 'no') from posthaste.receive('billing', 10)`,
  )
})
afterAll(() => database.drop())

const left = async () =>
  Number((await database.pool.query('select count(*) from posthaste.dead_letters')).rows[0].count)

describe.skipIf(noTerminal)('at a terminal', () => {
  test('what destroys asks with a count first; no is the default, and yes does it', async () => {
    const refused = atTerminal(['dead', 'purge', '--queue', 'billing', '--url', database.url])
    await refused.shows('Delete 3 dead letters for good? [y/N]')
    refused.type('\n')
    expect(await refused.ended).toBe(1)
    expect(refused.screen()).toContain('Nothing was changed')
    expect(await left()).toBe(3)

    const interrupted = atTerminal(['dead', 'purge', '1', '--url', database.url])
    await interrupted.shows('Delete 1 dead letter for good? [y/N]')
    interrupted.type('\u0003')
    expect(await interrupted.ended).toBe(130)
    expect(await left()).toBe(3)

    const agreed = atTerminal(['dead', 'purge', '1', '--url', database.url])
    await agreed.shows('[y/N]')
    agreed.type('y\n')
    expect(await agreed.ended).toBe(0)
    expect(agreed.screen()).toContain('1 purged')
    expect(await left()).toBe(2)
  })

  test('there are colours, and none where NO_COLOR is set', async () => {
    const coloured = atTerminal(['audit', '--url', database.url])
    expect(await coloured.ended).toBe(0)
    expect(coloured.screen()).toContain('\u001b[2mqueue\u001b[22m')
    const plain = atTerminal(['audit', '--url', database.url], { NO_COLOR: '1' })
    expect(await plain.ended).toBe(0)
    expect(plain.screen()).not.toContain('\u001b[')
  })

  test('what takes longer than a second shows that it goes on; Ctrl-C cancels it in the database too', async () => {
    const blocker = await database.pool.connect()
    try {
      await blocker.query('begin')
      await blocker.query('lock table posthaste.queues in access exclusive mode')
      const waiting = atTerminal(['audit', '--url', database.url])
      await waiting.shows(/audit · [12] s/)
      waiting.type('\u0003')
      expect(await waiting.ended).toBe(130)
      expect(waiting.screen()).toContain('Interrupted: nothing was changed')
      await until(async () => {
        const { rows } = await blocker.query(
          `select 1 from pg_stat_activity where datname = current_database() and application_name = 'posthaste audit'`,
        )
        return rows.length === 0
      })
    } finally {
      await blocker.query('rollback')
      blocker.release()
    }
  })
})

test('the bar tells how far it is: of a total, of a share, or of neither', () => {
  vi.stubEnv('NO_COLOR', '1')
  expect(progressLine('redrive', { done: 1_500, total: 3_000 }, 4_200)).toBe(
    'redrive ████████████░░░░░░░░░░░░ 1,500 of 3,000 · 50 % · 4 s',
  )
  expect(progressLine('publish', { done: 1_000, share: 0.25 }, 1_000)).toBe(
    'publish ██████░░░░░░░░░░░░░░░░░░ 1,000 · 25 % · 1 s',
  )
  expect(progressLine('audit', { done: 0 }, 2_000)).toBe('audit · 2 s')
  vi.unstubAllEnvs()
})
