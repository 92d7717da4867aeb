import fc from 'fast-check'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology, migrate, Posthaste, pgDatabase } from '../../src/index.ts'
import type { PublishOptions } from '../../src/rules/message.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

const Said = defineMessage('said', z.object({ text: z.string() }), { exchange: 'talk', version: 3 })

let scratch: TestDatabase
let posthaste: Posthaste<pg.PoolClient>

beforeAll(async () => {
  scratch = await createDatabase()
  await migrate({ url: scratch.url })
  const topology = defineTopology({ exchanges: { talk: 'fanout' }, queues: {} })
  posthaste = new Posthaste({ database: pgDatabase(scratch.pool), topology })
  await posthaste.declare()
})
afterAll(() => scratch.drop())

// A connection's first message goes through publish_all; it shows that no pooler is between, and later ones are prepared.
async function onBothWays<Result>(work: (client: pg.PoolClient, way: 'publish_all' | 'prepared') => Promise<Result>) {
  const results: Result[] = []
  const client = await scratch.pool.connect()
  try {
    for (const way of ['publish_all', 'prepared'] as const) {
      await client.query('begin')
      results.push(await work(client, way))
      await client.query('commit')
    }
  } finally {
    client.release(true)
  }
  return results
}

const name = fc.string({ minLength: 1, maxLength: 20, unit: fc.constantFrom('a', 'Z', '.', 'é', '名', '"', '\\', "'") })
const options = fc.record(
  {
    headers: fc.dictionary(name, fc.jsonValue({ depthSize: 'small', stringUnit: 'grapheme' })),
    priority: fc.integer({ min: 0, max: 9 }),
    correlationId: name,
    causationId: name,
    key: name,
    routingKey: name,
  },
  { requiredKeys: [] },
)

test('a prepared message is stored as publish_all stores it, whatever it holds', async () => {
  await fc.assert(
    fc.asyncProperty(options, fc.string({ unit: 'grapheme', maxLength: 200 }), async (given, text) => {
      const rows = await onBothWays(async (client) => {
        const { id, duplicate } = await posthaste.publish(client, Said.create({ text }, given as PublishOptions))
        expect(duplicate).toBe(false)
        const { rows } = await client.query(
          `select xid = pg_current_xact_id() as own, exchange, routing_key, type, version, key, priority, deliver_at, expires_at,
                  correlation_id, causation_id, headers::text, payload::text, body, content_type
           from posthaste.outbox where message_id = $1`,
          [id],
        )
        return rows
      })
      expect(rows[1]).toEqual(rows[0])
      expect(rows[1]).toMatchObject([{ own: true, payload: JSON.stringify({ text }) }])
    }),
    { numRuns: 60 },
  )
})

const keys = fc.option(fc.oneof(name, fc.constantFrom('\x1e', 'a\x1fb', '\x1f', '{', ',', 'NULL')), { nil: undefined })

test('messages published together are stored as publish_all stores them, in their order, alike or not', async () => {
  const alike = fc.tuple(
    options,
    fc.array(fc.record({ key: keys, text: fc.string({ unit: 'grapheme' }) }), { minLength: 2 }),
  )
  await fc.assert(
    fc.asyncProperty(alike, fc.boolean(), async ([given, said], odd) => {
      const rows = await onBothWays(async (client) => {
        const messages = said.map(({ key, text }, n) =>
          Said.create({ text }, { ...given, key, ...(odd && n === 1 && { priority: 7 }) } as PublishOptions),
        )
        const published = await posthaste.publish(client, messages)
        expect(published).toEqual(messages.map(({ id }) => ({ id, duplicate: false })))
        const { rows } = await client.query(
          `select xid = pg_current_xact_id() as own, exchange, routing_key, type, version, key, priority, deliver_at, expires_at,
                  correlation_id, causation_id, headers::text, payload::text, body, content_type,
                  array_position($1::uuid[], message_id) as place
           from posthaste.outbox where message_id = any ($1::uuid[]) order by id`,
          [messages.map(({ id }) => id)],
        )
        return rows
      })
      expect(rows[1]).toEqual(rows[0])
      expect(rows[1]!.map(({ place, payload }) => [place, payload])).toEqual(
        said.map(({ text }, n) => [n + 1, JSON.stringify({ text })]),
      )
    }),
    { numRuns: 60 },
  )
})

test('together or alone, nothing goes to an exchange nobody declared, and the transaction goes on', async () => {
  const lost = { type: 'lost', exchange: 'nowhere', payload: {} }
  await onBothWays(async (client, way) => {
    if (way === 'prepared')
      await expect(posthaste.publish(client, [lost, lost])).rejects.toMatchObject({ code: 'UNKNOWN_EXCHANGE' })
    await posthaste.publish(client, [Said.create({ text: 'one' }), Said.create({ text: 'two' })])
    const { rows } = await client.query(
      `select count(*)::integer as n from posthaste.outbox where xid = pg_current_xact_id()`,
    )
    expect(rows).toEqual([{ n: 2 }])
  })
})

test('an exchange that is removed is refused a second later by every session that knew it', async () => {
  const client = await scratch.pool.connect()
  const brief = { type: 'said', exchange: 'brief', payload: {} }
  const clock = performance.now.bind(performance)
  let ahead = 0
  const now = vi.spyOn(performance, 'now').mockImplementation(() => clock() + ahead)
  try {
    await scratch.pool.query(`insert into posthaste.exchanges (name, kind) values ('brief', 'topic')`)
    await client.query('begin')
    for (let n = 0; n < 3; n += 1) await posthaste.publish(client, brief)
    await client.query('commit')
    await scratch.pool.query(`delete from posthaste.exchanges where name = 'brief'`)
    ahead = 1_000
    await client.query('begin')
    await expect(posthaste.publish(client, brief)).rejects.toMatchObject({ code: 'UNKNOWN_EXCHANGE' })
    await client.query('rollback')
  } finally {
    now.mockRestore()
    client.release(true)
  }
})

test('an exchange nobody declared is refused by the prepared statement, and the transaction goes on', async () => {
  const lost = { type: 'lost', exchange: 'nowhere', payload: {} }
  const refusal = { code: 'UNKNOWN_EXCHANGE', exchange: 'nowhere' }
  const [, duplicate] = await onBothWays(async (client, way) => {
    if (way === 'prepared') await expect(posthaste.publish(client, lost)).rejects.toMatchObject(refusal)
    return (await posthaste.publish(client, { type: 'said', exchange: 'talk', payload: {} })).duplicate
  })
  expect(duplicate).toBe(false)
})

test('a prepared message wakes a relay that asks, and no other', async () => {
  const sleeper = await scratch.pool.connect()
  const knocks: string[] = []
  sleeper.on('notification', ({ channel }) => knocks.push(channel))
  await sleeper.query('listen "posthaste.posthaste"')
  const said = () => onBothWays((client) => posthaste.publish(client, { type: 'said', exchange: 'talk', payload: {} }))
  const heard = async () => {
    await sleeper.query('select 1')
    return knocks.length
  }

  await said()
  expect(await heard()).toBe(0)
  await sleeper.query(`select pg_advisory_lock(posthaste.lock_class(), posthaste.lock_object('sleep'))`)
  await said()
  expect(await heard()).toBe(2)
  sleeper.release(true)
})

test('a connection that is lost is told as that, on both ways, and the transaction is gone', async () => {
  for (const known of [false, true]) {
    const client = await scratch.pool.connect()
    client.on('error', () => {})
    if (known) {
      await client.query('begin')
      await posthaste.publish(client, Said.create({ text: 'first' }))
      await client.query('rollback')
    }
    await client.query('begin')
    const { rows } = await client.query('select pg_backend_pid() as pid')
    await scratch.pool.query('select pg_terminate_backend($1)', [rows[0].pid])
    await expect(posthaste.publish(client, Said.create({ text: 'lost' }))).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
    })
    client.release(true)
  }
})

test('where a stream keeps the order of keys, messages without one are refused together and alone', async () => {
  const kept = await createDatabase()
  await migrate({ url: kept.url })
  const topology = defineTopology({
    exchanges: { talk: 'fanout' },
    queues: { minutes: { kind: 'stream', from: [Said] } },
  })
  const ours = new Posthaste({ database: pgDatabase(kept.pool), topology })
  await ours.declare()
  const client = await kept.pool.connect()
  const keyless = Said.create({ text: 'by nobody' })
  for (const given of [keyless, [keyless, keyless], [Said.create({ text: 'by ann' }, { key: 'ann' }), keyless]]) {
    await client.query('begin')
    await ours.publish(client, Said.create({ text: 'first' }, { key: 'ann' }))
    await expect(ours.publish(client, given as never)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
    await client.query('rollback')
  }
  client.release(true)
  await kept.drop()
})
