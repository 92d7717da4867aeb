import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase, leftByAll, type TestDatabase } from '../support/database.ts'
import { run } from '../support/server.ts'
import type { Opened, Subject } from './subject.ts'

const names = [
  'pg',
  'kysely',
  'drizzle',
  'drizzle-postgres-js',
  'prisma',
  'knex',
  'typeorm',
  'mikro-orm',
  'sequelize',
  'postgres-js',
  'slonik',
  'pg-promise',
]
const subjects = await Promise.all(
  names.map(async (name) => ((await import(`./subjects/${name}.ts`)) as { subject: Subject }).subject),
)

const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
const Placed = defineMessage('placed', anything)

// What drivers escape, replace, split or encode in ways of their own.
const HARD = {
  quotes: `'"\`\\$1 $$ ? ?? :id ::text {} [] %s @p1`,
  words: 'Ünïcödé 🧾 \u2028',
  nested: [[1, [2, { three: null }]], true, 1.5e-7],
  text: '{"looks": "like json"}',
  list: '{a,b}',
  long: 'x'.repeat(100_000),
}

describe.each(subjects)('in a transaction of $name', (subject) => {
  let database: TestDatabase
  let posthaste: Posthaste<unknown>
  let user: Opened<unknown>

  beforeAll(async () => {
    database = await createDatabase()
    await run(database.url, 'create table orders (id text primary key)')
    posthaste = new Posthaste({
      database: pgDatabase(database.pool),
      topology: defineTopology({ queues: { billing: { from: [Placed] } } }),
    })
    await posthaste.declare()
    user = await subject.open(database.url)
  })
  beforeEach(() => run(database.url, 'delete from orders; delete from posthaste.outbox'))
  afterAll(async () => {
    await user[Symbol.asyncDispose]()
    await leftByAll(database)
    await database.drop()
  })

  const said = async () =>
    (await run(database.url, 'select payload from posthaste.outbox order by id')).rows.map(({ payload }) => payload)
  const orders = async () => (await run(database.url, 'select id from orders order by id')).rows.map(({ id }) => id)
  const publish = (tx: unknown, payload: unknown) => posthaste.publish(tx as never, Placed.create(payload))

  test('row and message are committed together', async () => {
    const published = user.transaction(async (tx) => {
      await user.insert(tx, 'a')
      const answer = await publish(tx, { id: 'a' })
      await user.insert(tx, 'b')
      return answer
    })
    expect(await published).toEqual({ id: expect.stringMatching(/^[0-9a-f-]{36}$/), duplicate: false })
    expect(await orders()).toEqual(['a', 'b'])
    expect(await said()).toEqual([{ id: 'a' }])
  })

  test('what is rolled back was never said', async () => {
    const error = new Error('out of stock')
    const failed = user.transaction(async (tx) => {
      await user.insert(tx, 'a')
      await publish(tx, { id: 'a' })
      throw error
    })
    await expect(failed).rejects.toThrow('out of stock')
    expect(await orders()).toEqual([])
    expect(await said()).toEqual([])
  })

  test('a payload arrives as it was given, and many in their order', async () => {
    const many = Array.from({ length: 120 }, (_, n) => ({ n }))
    await user.transaction(async (tx) => {
      await publish(tx, HARD)
      const answers = await posthaste.publish(
        tx as never,
        many.map((payload) => Placed.create(payload)),
      )
      expect(answers).toHaveLength(120)
    })
    expect(await said()).toEqual([HARD, ...many])
  })

  test('the same id twice is one message', async () => {
    const id = '0193e2f4-1111-7abc-8def-000000000001'
    const twice = user.transaction(async (tx) => {
      const answers = []
      for (let n = 0; n < 2; n++) answers.push(await posthaste.publish(tx as never, Placed.create({ n }), { id }))
      return answers
    })
    expect(await twice).toEqual([
      { id, duplicate: false },
      { id, duplicate: true },
    ])
    expect(await said()).toEqual([{ n: 0 }])
  })

  test('a message from elsewhere is processed once', async () => {
    const once = () =>
      user.transaction((tx) =>
        posthaste.inbox('billing').once(tx as never, crypto.randomUUID(), () => user.insert(tx, 'a')),
      )
    expect(await once()).toMatchObject({ status: 'processed' })
    const id = crypto.randomUUID()
    const same = () => user.transaction((tx) => posthaste.inbox('billing').once(tx as never, id, () => 'done'))
    expect([await same(), await same()]).toEqual([{ status: 'processed', value: 'done' }, { status: 'duplicate' }])
  })

  test('its pool is refused, with what to pass instead', async () => {
    for (const [handle, advice] of user.pools) {
      await expect(publish(handle, {})).rejects.toMatchObject({
        code: 'TRANSACTION_REQUIRED',
        message: expect.stringContaining(advice),
      })
    }
    expect(await said()).toEqual([])
  })

  test('one that is aborted is refused', async () => {
    const aborted = user.transaction(async (tx) => {
      await user.insert(tx, 'a')
      await user.fail(tx).catch(() => {})
      await expect(publish(tx, {})).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' })
      throw new Error('given up')
    })
    await expect(aborted).rejects.toThrow('given up')
    expect(await said()).toEqual([])
    expect(await orders()).toEqual([])
  })

  test('one that is over is refused, also while its connection serves another', async () => {
    let kept: unknown
    await user.transaction(async (tx) => {
      kept = tx
      await user.insert(tx, 'a')
    })
    await expect(publish(kept, {})).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
    if (!subject.handleIsConnection)
      await user.transaction(async (tx) => {
        await user.insert(tx, 'b')
        await expect(publish(kept, {})).rejects.toThrow()
      })
    expect(await said()).toEqual([])
  })

  test('two at once do not get in each other’s way', async () => {
    const begun = Promise.withResolvers<void>()
    const done = Promise.withResolvers<void>()
    const first = user.transaction(async (tx) => {
      await publish(tx, { n: 1 })
      begun.resolve()
      await done.promise
      await publish(tx, { n: 2 })
      throw new Error('rolled back')
    })
    first.catch(() => {})
    await begun.promise
    await user.transaction((tx) => publish(tx, { n: 3 }))
    done.resolve()
    await expect(first).rejects.toThrow('rolled back')
    expect(await said()).toEqual([{ n: 3 }])
  })
})
