import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)

let database: TestDatabase
let posthaste: Posthaste<unknown>

beforeAll(async () => {
  database = await createDatabase()
  const topology = defineTopology({ queues: { billing: {}, reminders: {} } })
  posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
  await posthaste.declare()
})
afterAll(() => database.drop())

async function json(...args: string[]) {
  const { code, stdout, stderr } = await cli([...args, '--json'], { env: { DATABASE_URL: database.url } })
  return { code, ...JSON.parse(stdout || stderr) }
}

async function publish(queue: string, count: number, options: object = {}): Promise<string[]> {
  const messages = Array.from({ length: count }, () => ({ type: queue, payload: {}, ...options }))
  const published = await pgDatabase(database.pool).transaction((tx) => posthaste.publish(tx, messages))
  await database.pool.query('select posthaste.relay_cycle(1000, true)')
  return published.map(({ id }) => id)
}

test('a queue is paused, shown as paused, and resumed', async () => {
  const paused = await json('queue', 'pause', 'billing', '--for', '10m', '--reason', 'the bank is down', '--by', 'ada')
  const fact = { source: 'operator', until: ISO, reason: 'the bank is down', by: 'ada' }
  expect(paused).toEqual({ code: 0, version: 1, queue: 'billing', paused: fact })
  expect((await json('status', 'billing')).queues).toMatchObject([{ queue: 'billing', paused: fact }])
  expect(await json('queue', 'resume', 'billing')).toEqual({ code: 0, version: 1, queue: 'billing', resumed: true })
  expect(await json('queue', 'resume', 'billing')).toEqual({ code: 0, version: 1, queue: 'billing', resumed: false })
})

test('purge and delete want to be told twice, and say what they did', async () => {
  await publish('billing', 2)
  await publish('billing', 1, { delayMs: 3_600_000 })
  expect(await json('queue', 'purge', 'billing')).toMatchObject({
    code: 2,
    error: { code: 'USAGE', message: 'Cannot delete 3 deliveries without being told twice: add --yes' },
  })
  expect(await json('queue', 'delete', 'billing', '--yes')).toMatchObject({
    code: 1,
    error: { code: 'QUEUE_NOT_EMPTY', message: 'Cannot delete "billing": it has 3 deliveries and 0 dead letters' },
  })
  expect(await json('queue', 'purge', 'billing', '--yes')).toEqual({ code: 0, version: 1, queue: 'billing', purged: 3 })
  await publish('billing', 2)
  expect(await json('queue', 'delete', 'billing', '--yes', '--force')).toEqual({
    code: 0,
    version: 1,
    queue: 'billing',
    deleted: true,
    purged: 2,
  })
  expect(await json('status', 'billing')).toMatchObject({ code: 1, error: { code: 'UNKNOWN_QUEUE' } })
})

test('a delayed delivery is cancelled once; the second time is a failure', async () => {
  const [messageId] = await publish('reminders', 1, { delayMs: 3_600_000 })
  const answer = { version: 1, queue: 'reminders', messageId }
  expect(await json('queue', 'cancel', 'reminders', messageId!)).toEqual({ code: 0, ...answer, cancelled: true })
  expect(await json('queue', 'cancel', 'reminders', messageId!)).toEqual({ code: 1, ...answer, cancelled: false })
})
