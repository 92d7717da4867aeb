import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import { charging, LEDGER, lapse, operation, processOn } from './bench.ts'
import { type Fate, gate, Psp } from './psp.ts'

const Booked = defineMessage('booked', z.object({ n: z.int() }))

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query(LEDGER)
  await db.pool.query('create table accounts (id int primary key, cents int); insert into accounts values (1, 0)')
})
afterAll(() => db.drop())

/** A queue of its own, and a process that publishes into it and consumes it. */
function bank(retry: object = { minMs: 5, maxMs: 20, maxAttempts: 8 }) {
  const queue = randomUUID()
  const process = processOn(db.url, { topology: defineTopology({ queues: { [queue]: { retry } } }) })
  const message = (n: number, id = randomUUID()) => ({ ...Booked.create({ n }), routingKey: queue, id })
  const ended = (name: 'completed' | 'dead-lettered', count = 1) =>
    until(() => process.told(name).filter((event) => (event as { queue: string }).queue === queue).length >= count, {
      timeoutMs: 25_000,
    })
  return { ...process, queue, message, ended }
}

describe('a producer', () => {
  test('commits message and business row together, and rolls them back together (P-1)', async () => {
    const { posthaste, transaction, queue, message, ended } = bank()
    const seen: number[] = []
    posthaste.consumer(queue).on(Booked, ({ payload }) => void seen.push(payload.n))
    await posthaste.start()
    const book = async (n: number, end: () => void) =>
      await transaction(async (tx) => {
        await tx.query('insert into ledger values ($1, $2)', [queue, n])
        await posthaste.publish(tx, message(n))
        end()
      })
    const fails = () => {
      throw new Error('rolled back')
    }
    await expect(book(1, fails)).rejects.toThrow('rolled back')
    await book(2, () => {})
    await ended('completed')
    const { rows } = await db.pool.query('select cents from ledger where operation = $1', [queue])
    expect({ rows, seen }).toEqual({ rows: [{ cents: 2 }], seen: [2] })
  })

  test('gives a message an id that every attempt, dead letter, redrive and repetition keeps (P-2)', async () => {
    const { posthaste, transaction, queue, message, ended } = bank({ minMs: 1, maxMs: 1, maxAttempts: 2 })
    const [seen, id] = [[] as string[], randomUUID()]
    const publish = () => transaction((tx) => posthaste.publish(tx, message(1), { id }))
    let broken = true
    posthaste.consumer(queue).on(Booked, (delivery) => {
      seen.push(delivery.id)
      if (broken) throw new Error('not today')
    })
    await posthaste.start()
    await publish()
    await ended('dead-lettered')
    const [dead] = await posthaste.queue(queue).deadLetters.list()
    broken = false
    await posthaste.deadLetters.redrive(dead!.id)
    await ended('completed')
    const again = await publish()
    expect(dead!.messageId).toBe(id)
    expect(again).toEqual({ id, duplicate: true })
    expect(seen).toEqual([id, id, id])
  })

  test('whose transactions lock the account first has its messages in the order of their commits (P-4)', async () => {
    const { posthaste, transaction, queue, message } = bank()
    const order: number[] = []
    const booking = (n: number, wait: Promise<void>) =>
      transaction(async (tx) => {
        await tx.query('update accounts set cents = cents + $1 where id = 1', [n])
        await wait
        await posthaste.publish(tx, message(n))
        order.push(n)
      })
    await posthaste.declare()
    const hold = gate()
    const first = booking(1, hold.opened)
    const others = [2, 3, 4, 5].map((n) => booking(n, Promise.resolve()))
    hold.open()
    await Promise.all([first, ...others])
    await db.pool.query('select * from posthaste.relay_cycle(1000, true)')
    const { rows } = await db.pool.query(
      `select (m.payload ->> 'n')::int as n
       from posthaste.ready r
       join posthaste.queues q on q.id = r.queue
       join posthaste.outbox m on m.id = r.message
       where q.name = $1
       order by r.priority, r.position`,
      [queue],
    )
    expect(rows.map(({ n }) => n)).toEqual(order)
  })
})

describe('a consumer', () => {
  test('has noted the message before its handler is called, in its transaction, at READ COMMITTED (C-1)', async () => {
    const { posthaste, pool, transaction, queue, message, ended } = bank()
    const sent = message(1)
    const noted = (where: Pick<pg.Pool, 'query'>) =>
      where.query('select from posthaste.inbox_other where consumer = $1 and message_id = $2', [queue, sent.id])
    const seen: unknown[] = []
    posthaste.consumer(queue).on(Booked, async (_, { tx }) => {
      const level = await tx.query('show transaction_isolation')
      seen.push([level.rows[0].transaction_isolation, (await noted(tx)).rowCount, (await noted(pool)).rowCount])
    })
    await posthaste.start()
    await transaction((tx) => posthaste.publish(tx, sent))
    await ended('completed')
    expect(seen).toEqual([['read committed', 1, 0]])
    expect((await noted(pool)).rowCount).toBe(1)
  })

  test('that fails has left no row of its own and no inbox row, and its attempt is counted (C-3)', async () => {
    const { posthaste, transaction, queue, message, ended } = bank({ minMs: 1, maxMs: 1, maxAttempts: 2 })
    const sent = message(1)
    posthaste.consumer(queue).on(Booked, async ({ payload }, { tx }) => {
      await tx.query('insert into ledger values ($1, $2)', [queue, payload.n])
      throw new Error('not today')
    })
    await posthaste.start()
    await transaction((tx) => posthaste.publish(tx, sent))
    await ended('dead-lettered')
    const [dead] = await posthaste.queue(queue).deadLetters.list()
    expect(dead).toMatchObject({ attempts: 2, history: [{ attempt: 1 }, { attempt: 2 }] })
    const { rowCount } = await db.pool.query(
      `select operation from ledger where operation = $1
       union all select consumer from posthaste.inbox_other where consumer = $1`,
      [queue],
    )
    expect(rowCount).toBe(0)
  })

  test('that is renamed takes over what it has done: the heir does nothing again (C-7)', async () => {
    const { posthaste, transaction } = bank()
    const [old, heir, id] = [randomUUID(), randomUUID(), randomUUID()]
    const once = (consumer: string) =>
      transaction((tx) => posthaste.inbox(consumer).once(tx, id, () => tx.query('select 1')))
    expect((await once(old)).status).toBe('processed')
    const inherit = () => transaction((tx) => posthaste.inbox(heir).inherit(tx, old))
    expect([await inherit(), await inherit()]).toEqual([1, 0])
    expect(await once(heir)).toEqual({ status: 'duplicate' })
    expect((await once(randomUUID())).status).toBe('processed')
  })
})

test('after a storm every operation that succeeded has one ledger entry, nothing is begun and left, and every delivery that ended has its inbox row (O-5)', async () => {
  const { posthaste, pool, effects, transaction, queue, ended } = bank({ minMs: 5, maxMs: 20, maxAttempts: 1_000 })
  const random = seeded(6)
  const fates: readonly Fate[] = ['ok', 'decline', 'lost-before', 'lost-after', '500-before', '500-after', '409']
  const psps = new Map<string, Psp>()
  const names = Array.from({ length: 25 }, operation)
  for (const name of names) {
    psps.set(name, new Psp().will(...Array.from({ length: 3 }, () => fates[Math.floor(random() * fates.length)]!)))
  }
  posthaste
    .consumer(queue, { guarantee: 'at-least-once', concurrency: 6, batchSize: 1 })
    .otherwise(async ({ payload }, { complete }) => {
      const name = payload as string
      const charge = await effects.run(name, charging(psps.get(name)!))
      if (random() < 0.2) throw new Error('a bug, now and then')
      if (charge.status !== 'succeeded' && charge.status !== 'failed') throw new Error(charge.status)
      await complete((tx) =>
        charge.record(tx, async () => {
          if (charge.status === 'succeeded') await tx.query('insert into ledger values ($1, 500)', [name])
        }),
      )
    })
  await posthaste.start()
  const messages = names.map((payload) => ({ type: 'charge', payload, routingKey: queue, id: randomUUID() }))
  await transaction((tx) =>
    posthaste.publish(tx, [...messages, ...messages.map((one) => ({ ...one, id: randomUUID() }))]),
  )
  // each of them in its turn: none is left to its lease of half a minute
  let turn = 0
  const storm = setInterval(() => void lapse(pool, names[turn++ % names.length]!).catch(() => {}), 10)
  await ended('completed', 2 * names.length)
  clearInterval(storm)

  const entries = await pool.query(
    `select e.operation, e.state, count(l.operation)::int as entries
     from posthaste.effects e left join ledger l on l.operation = e.operation
     where e.operation = any($1) group by 1, 2`,
    [names],
  )
  expect(entries.rows).toHaveLength(names.length)
  for (const { operation: name, state, entries: count } of entries.rows) {
    expect({ name, state, count }).toEqual({ name, state, count: state === 'succeeded' ? 1 : 0 })
    expect(psps.get(name)!.executed.length, name).toBe(state === 'succeeded' ? 1 : 0)
  }
  expect(await effects.list({ startingWith: 'capture:' })).toEqual([])
  const noted = await pool.query('select count(*)::int as n from posthaste.inbox_other where consumer = $1', [queue])
  expect(noted.rows[0].n).toBe(2 * names.length)
})
