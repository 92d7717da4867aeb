import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineTopology } from '../../src/index.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { Order, service, unaccounted } from './bench.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

test('a copy of what dies goes where its queue says, with the story; in a circle it ends', async () => {
  const topology = defineTopology({
    exchanges: { dead: 'topic' },
    queues: {
      billing: {
        retry: { maxAttempts: 2, minMs: 1, maxMs: 1 },
        deadLetter: { exchange: 'dead', routingKey: 'dead.billing' },
      },
      watch: {
        from: [{ exchange: 'dead', routingKey: 'dead.#' }],
        deadLetter: { exchange: '', routingKey: 'billing' },
      },
    },
  })
  const { posthaste, publish } = service(db.url, topology)
  posthaste.consumer('billing').on(Order, () => {
    throw new Error('no funds')
  })
  const seen: {
    headers: object
    payload: unknown
    causationId: string | undefined
    correlationId: string | undefined
  }[] = []
  posthaste.consumer('watch').on(Order, (delivery) => {
    seen.push(delivery)
    return delivery.deadLetter('seen')
  })
  await posthaste.start()
  const [published] = await publish(Order.create({ n: 7 }, { routingKey: 'billing', headers: { tenant: 'a' } }))
  await until(async () => (await posthaste.deadLetters.count({ queue: 'billing' })) === 2)
  expect(seen).toHaveLength(1)
  expect(seen[0]).toMatchObject({
    payload: { n: 7 },
    causationId: published!.id,
    correlationId: published!.id,
    headers: {
      tenant: 'a',
      'dead-letter-reason': 'max-attempts',
      'dead-letter-attempts': 2,
      'dead-letter-queues': ['billing'],
    },
  })
  expect((await posthaste.topology()).queues.find(({ name }) => name === 'billing')!.deadLetter).toEqual({
    exchange: 'dead',
    routingKey: 'dead.billing',
  })
  await until(async () => unaccounted(await posthaste.audit()).length === 0)
  expect((await posthaste.deadLetters.list()).map(({ queue }) => queue).toSorted()).toEqual([
    'billing',
    'billing',
    'watch',
  ])
})

test('a route for dead letters that nothing stands behind is refused', () => {
  const define = (deadLetter: object) => () => defineTopology({ queues: { a: { deadLetter } } } as never)
  expect(define({ exchange: 'nowhere' })).toThrow(expect.objectContaining({ code: 'DANGLING_EXCHANGE' }))
  expect(define({ exchange: '', routingKey: 'a\nb' })).toThrow(expect.objectContaining({ code: 'INVALID_TOPOLOGY' }))
  expect(define({ exchange: '', key: 'a' })).toThrow(expect.objectContaining({ code: 'UNKNOWN_OPTION' }))
})

test('dead list --json | dead redrive --stdin puts back what was listed', async () => {
  await using own = await createDatabase()
  const { posthaste, publish } = service(own.url, defineTopology({ queues: { piped: {}, other: {} } }))
  await posthaste.declare()
  await publish(...[1, 2, 3].map((n) => Order.create({ n }, { routingKey: 'piped' })))
  await own.pool.query('select posthaste.relay_cycle(100, true)')
  for (const [n, delivery] of (await posthaste.queue('piped').receive({ max: 3 })).entries())
    await delivery.deadLetter(n < 2 ? 'a timeout' : 'unknown customer')
  const env = { DATABASE_URL: own.url }
  const listed = await cli(['dead', 'list', '--text', 'TIMEOUT', '--json'], { env })
  const dry = await cli(['dead', 'redrive', '--stdin', '--dry-run', '--json'], { env, stdin: listed.stdout })
  expect(JSON.parse(dry.stdout)).toMatchObject({ redriven: 2, dryRun: true })
  expect(await posthaste.deadLetters.count()).toBe(3)
  const redriven = await cli(['dead', 'redrive', '--stdin', '--to', 'other', '--json'], { env, stdin: listed.stdout })
  expect(JSON.parse(redriven.stdout)).toMatchObject({ redriven: 2, missing: [], dryRun: false })
  const [last] = await posthaste.deadLetters.list()
  expect(
    await cli(['dead', 'redrive', '--stdin', '--payload', '{"n": 9}'], { env, stdin: `${last!.id}\n` }),
  ).toMatchObject({ code: 0, stdout: '1 redriven\n' })
  await own.pool.query('select posthaste.relay_cycle(100, true)')
  expect(await posthaste.queue('piped').peek()).toMatchObject([{ payload: { n: 9 } }])
  expect((await posthaste.queue('other').status()).depth).toBe(2)
  expect(await cli(['dead', 'redrive', '--stdin'], { env, stdin: '{"queues":[]}' })).toMatchObject({ code: 2 })
  expect(await cli(['dead', 'redrive', '1', '--payload', '{'], { env })).toMatchObject({ code: 2 })
  const journal = await cli(['journal', '--json'], { env })
  expect(JSON.parse(journal.stdout).acts).toHaveLength(2)
})
