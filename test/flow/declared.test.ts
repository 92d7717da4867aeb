import { afterAll, beforeAll, expect, test } from 'vitest'
import { TopologyConflict } from '../../src/errors.ts'
import { defineTopology } from '../../src/index.ts'
import { service } from '../queue/bench.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

test('the rules are stored with the queue, and status shows them', async () => {
  const { posthaste } = service(
    db.url,
    defineTopology({ queues: { shown: { ttlMs: 60_000, expired: 'dead-letter' } } }),
  )
  await posthaste.declare()
  expect((await posthaste.queue('shown').status()).flow).toEqual({ ttlMs: 60_000, expired: 'dead-letter' })
  expect((await posthaste.topology()).queues.find(({ name }) => name === 'shown')!.flow).toEqual({
    ttlMs: 60_000,
    expired: 'dead-letter',
  })
})

test('a rule that another process declared differently, or not at all, is refused with both values, unless forced', async () => {
  const ruled = service(db.url, defineTopology({ queues: { shared: { ttlMs: 60_000 } } })).posthaste
  const plain = service(db.url, defineTopology({ queues: { shared: {} } })).posthaste
  await ruled.declare()
  await ruled.declare()
  const refused = await plain.declare().catch((error) => error)
  expect(refused).toBeInstanceOf(TopologyConflict)
  expect(refused).toMatchObject({ subject: 'shared', setting: 'ttlMs', declared: null, stored: 60_000 })
  expect((await ruled.queue('shared').status()).flow).toEqual({ ttlMs: 60_000 })
  await plain.declare({ force: true })
  expect((await plain.queue('shared').status()).flow).toEqual({})
})
