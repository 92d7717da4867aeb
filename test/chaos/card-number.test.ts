import { expect, it } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology, type Logger, NonRetryable, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const CARD = '4111111111111111'
const SPACED = '4111 1111 1111 1111'

const Payment = defineMessage('payment.made', z.object({ card: z.string(), how: z.string() }))
const topology = defineTopology({
  queues: { payments: { from: [Payment], retry: { maxAttempts: 2, minMs: 1, maxMs: 5 } } },
})

const FAILURES: Record<
  string,
  (tx: { query(text: string, values?: unknown[]): Promise<unknown> }, card: string) => Promise<unknown>
> = {
  'a unique violation, whose detail quotes the row': (tx, card) =>
    tx.query('insert into cards values ($1), ($1)', [card]),
  'a check violation, whose detail quotes the row': (tx, card) => tx.query('insert into checked values ($1)', [card]),
  'a cast, whose message quotes the value': (tx, card) => tx.query('select $1::text::uuid', [card]),
  'a function, whose context quotes the call': (tx, card) =>
    tx.query('select posthaste.publish_all($1)', [`[{"payload":"${card}"`]),
  'an error that says it': async (_tx, card) => Promise.reject(new Error(`card ${card} declined`)),
  'an error that says it with spaces': async () => Promise.reject(new Error(`card ${SPACED} declined`)),
  'an error with a cause that says it': async (_tx, card) =>
    Promise.reject(new NonRetryable('declined', { cause: new Error(card) })),
  'something thrown that is no error': async (_tx, card) => Promise.reject({ card }),
}

it('a card number in a payload is in no log, no event, and of a dead letter only in its payload', async () => {
  await using database = await createDatabase()
  const { pool } = database
  await pool.query(
    'create table cards (number text unique); create table checked (number text check (length(number) < 5))',
  )
  const said: string[] = []
  const log = (fields: object, message: string) => void said.push(message, JSON.stringify(fields))
  const logger: Logger = { debug: log, info: log, warn: log, error: log }

  await using posthaste = new Posthaste({ database: pgDatabase(pool), topology, logger })
  posthaste.consumer('payments').on(Payment, async ({ payload }, { tx }) => {
    await FAILURES[payload.how]!(tx, payload.card)
  })
  await posthaste.start()

  const client = await pool.connect()
  await client.query('begin')
  for (const how of Object.keys(FAILURES)) await posthaste.publish(client, Payment.create({ card: CARD, how }))
  await posthaste.publish(client, { type: 'payment.made', routingKey: 'payments', payload: { card: 4111111111111111 } })
  await posthaste.publish(client, { type: 'payment.unknown', routingKey: 'payments', payload: { card: CARD } })
  await client.query('commit')
  const refused = await posthaste
    .publish(client, Payment.create({ card: 4111111111111111, how: 'never' } as never))
    .then(
      () => 'published',
      (error) => `${error.message} ${JSON.stringify(error)}`,
    )
  client.release()

  const expected = Object.keys(FAILURES).length + 2
  const dead = async () => (await pool.query('select * from posthaste.dead_letters')).rows
  await until(async () => (await dead()).length === expected, { timeoutMs: 20_000, what: `${expected} dead letters` })

  for (const letter of await dead()) {
    expect(JSON.stringify(letter.payload)).toContain(CARD)
    said.push(JSON.stringify({ ...letter, payload: undefined }))
  }
  const all = [...said, refused].join('\n')
  expect(all).toContain('dead-lettered')
  expect(all).not.toContain(CARD)
  expect(all).not.toContain(SPACED)
}, 60_000)
