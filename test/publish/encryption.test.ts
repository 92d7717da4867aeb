import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology, type Guarantee, type PayloadKeys } from '../../src/index.ts'
import { service } from '../queue/bench.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const SECRET = 'Ada Lovelace'
const Booked = defineMessage(
  'flight.booked',
  z.object({
    flight: z.string(),
    card: z.object({ number: z.string(), brand: z.string() }).optional(),
    passengers: z.array(z.object({ name: z.string(), seat: z.string() })),
  }),
  { encrypt: ['card.number', 'passengers.*.name'] },
)
const booking = {
  flight: 'LH 1',
  card: { number: '4111-secret', brand: 'visa' },
  passengers: [
    { name: SECRET, seat: '1A' },
    { name: `${SECRET} jr`, seat: '1B' },
  ],
}
const old = randomBytes(32)
const young = randomBytes(32).toString('base64')
const BEFORE: PayloadKeys = { current: '2025', keys: { '2025': old } }
const AFTER: PayloadKeys = { current: '2026', keys: { '2025': old, '2026': young } }

const topology = defineTopology({
  exchanges: { dead: 'fanout' },
  queues: {
    flights: { from: [Booked], retry: { maxAttempts: 2, minMs: 1, maxMs: 1 } },
    archive: { from: [{ exchange: 'dead' }] },
  },
})

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

/** Everything that any table holds, as text. */
async function everything(on: TestDatabase): Promise<string> {
  const { rows } = await on.pool.query(
    `select table_name as name from information_schema.tables where table_schema = 'posthaste' and table_type = 'BASE TABLE'`,
  )
  const tables = await Promise.all(
    rows.map(async ({ name }) => {
      const { rows: text } = await on.pool.query(`select string_agg(t::text, E'\n') as text from posthaste."${name}" t`)
      return text[0].text ?? ''
    }),
  )
  return tables.join('\n')
}

describe.each<Guarantee>(['exactly-once-effects', 'at-least-once', 'at-most-once'])('%s', (guarantee) => {
  test('handlers get clear text, before and after a rotation of keys; no table has it', async () => {
    await using own = await createDatabase()
    const first = service(own.url, topology, { payloadKeys: BEFORE })
    await first.posthaste.declare()
    await first.publish(Booked.create(booking))
    const second = service(own.url, topology, { payloadKeys: AFTER })
    await second.publish(Booked.create(booking))
    const seen: unknown[] = []
    second.posthaste.consumer('flights', { guarantee }).on(Booked, ({ payload }) => void seen.push(payload))
    await second.posthaste.start()
    await until(() => seen.length === 2)
    expect(seen).toEqual([booking, booking])
    const { rows } = await own.pool.query(`select payload from posthaste.outbox order by id`)
    expect(rows.map(({ payload }) => payload.card.number.key)).toEqual(['2025', '2026'])
    expect(rows[0].payload).toMatchObject({ flight: 'LH 1', card: { brand: 'visa' }, passengers: [{ seat: '1A' }, {}] })
    const stored = await everything(own)
    expect(stored).not.toContain('4111-secret')
    expect(stored).not.toContain(SECRET)
  })
})

test('dead letters, peek, traces and the command line show ciphertext; a redriven one is handled in clear text', async () => {
  await using own = await createDatabase()
  const { posthaste, publish } = service(own.url, topology, { payloadKeys: AFTER })
  let fails = true
  const seen: unknown[] = []
  posthaste.consumer('flights').on(Booked, ({ payload }) => {
    if (fails) throw new Error('no seat')
    seen.push(payload)
  })
  await posthaste.declare()
  const [published] = await publish(Booked.create(booking))
  await own.pool.query('select posthaste.relay_cycle(100, true)')
  expect(JSON.stringify(await posthaste.queue('flights').peek())).not.toContain(SECRET)
  await posthaste.start()
  await posthaste.until('dead-lettered')
  const [letter] = await posthaste.deadLetters.list()
  const shown = [
    JSON.stringify(await posthaste.deadLetters.show(letter!.id)),
    JSON.stringify(await posthaste.trace(published!.id)),
    JSON.stringify(await posthaste.status()),
    (await cli(['dead', 'show', letter!.id], { env: { DATABASE_URL: own.url } })).stdout,
  ].join()
  expect(shown).toContain('$encrypted')
  expect(shown).not.toContain(SECRET)
  fails = false
  await posthaste.deadLetters.redrive(letter!.id)
  await until(() => seen.length === 1)
  expect(seen).toEqual([booking])
  expect((await posthaste.topology()).contracts[0]!.encrypted).toEqual(['card.number', 'passengers.*.name'])
})

test('receive hands out clear text, and SQL ciphertext', async () => {
  await using own = await createDatabase()
  const { posthaste, publish } = service(own.url, topology, { payloadKeys: AFTER })
  await posthaste.declare()
  await publish(Booked.create(booking), Booked.create(booking))
  await own.pool.query('select posthaste.relay_cycle(100, true)')
  const [pulled] = await posthaste.queue('flights').receive()
  expect(pulled!.payload).toEqual(booking)
  const { rows } = await own.pool.query(`select payload from posthaste.receive('flights')`)
  expect(Object.keys(rows[0].payload.card.number)).toEqual(['$encrypted', 'key'])
})

describe('a lost key', () => {
  test('is a dead letter that names it, pulled or handled; with the key again, redriving it is all', async () => {
    await using own = await createDatabase()
    const first = service(own.url, topology, { payloadKeys: BEFORE })
    await first.posthaste.declare()
    await first.publish(Booked.create(booking), Booked.create(booking))
    const lost = service(own.url, topology, { payloadKeys: { current: '2026', keys: { '2026': young } } })
    await own.pool.query('select posthaste.relay_cycle(100, true)')
    expect(await lost.posthaste.queue('flights').receive()).toEqual([])
    lost.posthaste.consumer('flights').on(Booked, () => expect.unreachable())
    await lost.posthaste.start()
    await until(async () => (await lost.posthaste.deadLetters.count({ reason: 'key-lost' })) === 2)
    const letters = await lost.posthaste.deadLetters.list()
    expect(letters.map(({ history }) => history.at(-1))).toMatchObject([{ code: 'KEY_LOST' }, { code: 'KEY_LOST' }])
    expect(letters[0]!.history.at(-1)!.message).toBe(
      'Cannot decrypt "flight.booked" with key "2025": it is not among the payloadKeys',
    )
    await lost.posthaste.stop()
    const seen: unknown[] = []
    const found = service(own.url, topology, { payloadKeys: AFTER })
    found.posthaste.consumer('flights').on(Booked, ({ payload }) => void seen.push(payload))
    await found.posthaste.start()
    await found.posthaste.deadLetters.redrive({})
    await until(() => seen.length === 2)
  })

  test('that is another key under the same id is told, too', async () => {
    await using own = await createDatabase()
    const first = service(own.url, topology, { payloadKeys: BEFORE })
    await first.posthaste.declare()
    await first.publish(Booked.create(booking))
    const other = service(own.url, topology, { payloadKeys: { current: '2025', keys: { '2025': randomBytes(32) } } })
    other.posthaste.consumer('flights').on(Booked, () => expect.unreachable())
    const dead = other.posthaste.until('dead-lettered')
    await other.posthaste.start()
    expect(await dead).toMatchObject({ reason: 'key-lost', error: { code: 'KEY_LOST' } })
  })

  test('refuses to publish before SQL', async () => {
    const { publish } = service(db.url, topology)
    await expect(publish(Booked.create(booking))).rejects.toThrow(expect.objectContaining({ code: 'KEY_LOST' }))
  })
})

test('keys may be one per customer and come from elsewhere; one that cannot be asked for now is an attempt that failed', async () => {
  await using own = await createDatabase()
  const Letter = defineMessage('letter', z.object({ customer: z.string(), text: z.string() }), {
    encrypt: { paths: ['text'], keyId: ({ customer }) => `customer-${customer}` },
  })
  const vault = new Map([
    ['customer-a', randomBytes(32)],
    ['customer-b', randomBytes(32)],
  ])
  let outages = 0
  const payloadKeys: PayloadKeys = {
    current: 'none',
    keys: async (id) => {
      if (outages > 0) {
        outages -= 1
        throw new Error('the vault does not answer')
      }
      return vault.get(id)
    },
  }
  const queues = { letters: { from: [Letter], retry: { maxAttempts: 3, minMs: 1, maxMs: 1 } } }
  const { posthaste, publish } = service(own.url, defineTopology({ queues }), { payloadKeys })
  const seen: unknown[] = []
  posthaste.consumer('letters', { batchSize: 1, concurrency: 1 }).on(Letter, ({ payload, attempt }) => {
    seen.push([payload, attempt])
  })
  await posthaste.declare()
  await publish(Letter.create({ customer: 'a', text: 'dear a' }), Letter.create({ customer: 'b', text: 'dear b' }))
  vault.delete('customer-b')
  outages = 1
  await posthaste.start()
  await until(async () => seen.length === 1 && (await posthaste.deadLetters.count()) === 1)
  expect(seen).toEqual([[{ customer: 'a', text: 'dear a' }, 2]])
  const [letter] = await posthaste.deadLetters.list()
  expect(letter).toMatchObject({ reason: 'key-lost' })
})

test('an encrypted payload is the same under its dedupe key, also after a rotation; another one is not', async () => {
  const first = service(db.url, topology, { payloadKeys: BEFORE })
  await first.posthaste.declare()
  const [published] = await first.publish(Booked.create(booking, { dedupeKey: 'lh1' }))
  const second = service(db.url, topology, { payloadKeys: AFTER })
  expect(await second.publish(Booked.create(booking, { dedupeKey: 'lh1' }))).toEqual([
    { id: published!.id, duplicate: true },
  ])
  const other = { ...booking, card: { ...booking.card, number: 'another' } }
  await expect(second.publish(Booked.create(other, { dedupeKey: 'lh1' }))).rejects.toThrow(
    expect.objectContaining({ code: 'DEDUPE_CONFLICT' }),
  )
})

test('paths and keys that cannot be are refused where they are said', () => {
  const define = (encrypt: unknown) => () => defineMessage('m', z.object({}), { encrypt } as never)
  const invalid = expect.objectContaining({ code: 'INVALID_CONTRACT' })
  for (const wrong of [[], [''], ['a..b'], ['a', 'a.b'], ['a.*', 'a.b'], ['a', 'a'], [7], { paths: ['a'], keyId: 'k' }])
    expect(define(wrong), JSON.stringify(wrong)).toThrow(invalid)
  expect(define({ paths: ['a'], key: 'k' })).toThrow('Unknown option "encrypt.key"')
  const with_ = (payloadKeys: unknown) => () => service(db.url, topology, { payloadKeys } as never)
  expect(with_({ current: 'b', keys: { a: old } })).toThrow('there is no key "b"')
  expect(with_({ current: 'a', keys: { a: 'short' } })).toThrow('it is not 32 bytes')
  expect(with_({ current: 'a', kyes: { a: old } })).toThrow('did you mean "keys"')
})
