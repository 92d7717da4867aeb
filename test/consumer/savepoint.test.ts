import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Answer } from '../../src/consumer/handlers.ts'
import type { ExactlyOnceContext } from '../../src/consumer.ts'
import { Volley } from '../../src/database/volley.ts'
import { pgDatabase } from '../../src/databases/pg.ts'
import type { Delivery } from '../../src/rules/delivery.ts'

import { createDatabase, type TestDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import {
  deadLettersOf,
  drained,
  EFFECT,
  effectsOf,
  makeQueue,
  type Numbered,
  processOn,
  publishReady,
} from './bench.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

type Attempted = (delivery: Delivery, context: ExactlyOnceContext<pg.PoolClient>, queue: string) => Promise<Answer>

interface Way {
  readonly effects: 0 | 1
  readonly dead?: boolean
  readonly attempt: Attempted
}

const values = ({ id, payload }: Delivery, queue: string) => [queue, id, (payload as Numbered).n]
const write = (delivery: Delivery, tx: pg.PoolClient, queue: string) => tx.query(EFFECT, values(delivery, queue))
/** As `publish` sends what it was given a `tx` for. */
const volley = async (delivery: Delivery, tx: pg.PoolClient, queue: string) =>
  void (await Volley.send(tx, [{ name: 'effect_volley', text: EFFECT, values: values(delivery, queue) }]))
const literal = ({ id, payload }: Delivery, queue: string) =>
  `insert into effects (queue, message_id, n) values ('${queue}', '${id}', ${(payload as Numbered).n})`

const BROKEN = { name: 'broken', text: 'select 1 / $1::int', values: [0] }

/** How handlers use their transaction, and what is to be left of it. */
const WAYS: Record<string, Way> = {
  'one statement': { effects: 1, attempt: async (d, { tx }, q) => void (await write(d, tx, q)) },
  'a text alone': { effects: 1, attempt: async (d, { tx }, q) => void (await tx.query(literal(d, q))) },
  'a prepared statement': {
    effects: 1,
    attempt: async (d, { tx }, q) => void (await tx.query({ name: 'effect', text: EFFECT, values: values(d, q) })),
  },
  'a volley': { effects: 1, attempt: (d, { tx }, q) => volley(d, tx, q) },
  'a volley behind what nobody waits for': {
    effects: 1,
    attempt: async (d, { tx }, q) => {
      void tx.query('create temporary table if not exists before (n int)')
      void tx.query('insert into before values (1)')
      await volley(d, tx, q)
    },
  },
  'a volley that fails': { effects: 0, dead: true, attempt: (_, { tx }) => Volley.send(tx, [BROKEN]).then(() => {}) },
  'a callback': {
    effects: 1,
    attempt: (d, { tx }, q) =>
      new Promise((resolve, reject) => tx.query(EFFECT, values(d, q), (error) => (error ? reject(error) : resolve()))),
  },
  'a query that submits itself': {
    effects: 1,
    attempt: (d, { tx }, q) =>
      new Promise((resolve, reject) => {
        const query = new pg.Query({ text: EFFECT, values: values(d, q) } as never)
        query.on('end', () => resolve())
        query.on('error', reject)
        tx.query(query)
      }),
  },
  'a savepoint of its own': {
    effects: 1,
    attempt: async (d, { tx }, q) => {
      await tx.query('savepoint mine')
      await write(d, tx, q)
      await tx.query('select 1 / $1::int', [0]).catch(() => {})
      await tx.query('rollback to savepoint mine')
      await write(d, tx, q)
    },
  },
  'a message published': {
    effects: 1,
    attempt: async (d, { tx, publish }, q) => {
      await publish({ type: 'nobody', routingKey: 'nowhere', payload: {} })
      await write(d, tx, q)
    },
  },
  'a write that is not waited for': { effects: 1, attempt: async (d, { tx }, q) => void write(d, tx, q) },
  'nothing but a look at tx': { effects: 0, attempt: async (_, context) => void context.tx },
  nothing: { effects: 0, attempt: async () => {} },
  'a write, and a throw': {
    effects: 0,
    dead: true,
    attempt: async (d, { tx }, q) => {
      await write(d, tx, q)
      throw new Error('no')
    },
  },
  'a look at tx, and a throw': {
    effects: 0,
    dead: true,
    attempt: async (_, context) => {
      void context.tx
      throw new Error('no')
    },
  },
  'a write, and an outcome that leaves nothing': {
    effects: 0,
    dead: true,
    attempt: async (d, { tx }, q) => {
      await write(d, tx, q)
      return d.deadLetter('no')
    },
  },
  'a write, and an error that is swallowed': {
    effects: 0,
    dead: true,
    attempt: async (d, { tx }, q) => {
      await write(d, tx, q)
      await tx.query('select 1 / $1::int', [0]).catch(() => {})
    },
  },
  'a first statement that fails, swallowed': {
    effects: 0,
    dead: true,
    attempt: async (_, { tx }) => void (await tx.query('select 1 / $1::int', [0]).catch(() => {})),
  },
  'a failure that is not waited for': {
    effects: 0,
    dead: true,
    attempt: async (d, { tx }, q) => {
      await write(d, tx, q)
      void tx.query('select 1 / $1::int', [0])
    },
  },
  'a prepared statement that cannot be parsed': {
    effects: 0,
    dead: true,
    attempt: async (_, { tx }) => void (await tx.query({ name: 'broken', text: 'selec $1', values: [1] })),
  },
  'another text under a name that is taken': {
    effects: 0,
    dead: true,
    attempt: async (_, { tx }) => {
      await tx.query({ name: 'taken', text: 'select $1::int', values: [1] })
      await tx.query({ name: 'taken', text: 'select $1::text', values: [1] })
    },
  },
  'such a text, first': {
    effects: 0,
    dead: true,
    attempt: async (_, { tx }) =>
      void (await tx.query({ name: 'effect', text: 'select $1::text, $2, $3', values: [1, 2, 3] })),
  },
  'a value that cannot be written': {
    effects: 0,
    dead: true,
    attempt: async (_, { tx }) => {
      const value = {
        toPostgres: () => {
          throw new Error('no')
        },
      }
      await tx.query('select $1', [value])
    },
  },
}

test.each([1, 2, 3])('what an attempt writes is kept or taken back alone, however it writes, seed %i', async (seed) => {
  const random = seeded(seed)
  const queue = await makeQueue(db.pool, { retry: { maxAttempts: 1 } })
  const names = Object.keys(WAYS)
  const chosen = Array.from({ length: 300 }, () => names[Math.floor(random() * names.length)]!)
  const ids = await publishReady(db.pool, queue, chosen.length)
  // a name is taken by the first who uses it on a connection
  const took = async (client: pg.PoolClient) => {
    await client.query({ name: 'effect', text: EFFECT, values: ['another', ids[0], 0] })
  }
  const pool = (made: pg.Pool) => pgDatabase(Object.assign(made, { options: { ...made.options, onConnect: took } }))
  const { consumer } = processOn(db.url, { database: pool })
  await consumer(queue, { concurrency: 2, batchSize: 10 })
    .otherwise((delivery, context) =>
      WAYS[chosen[(delivery.payload as Numbered).n]!]!.attempt(delivery, context, queue.name),
    )
    .start()
  await drained(db.pool, queue, ids.length)

  const written = await effectsOf(db.pool, queue)
  const dead = new Set((await deadLettersOf(db.pool, queue)).map(({ message_id }) => message_id))
  const outcome = (n: number) => [chosen[n], written.get(ids[n]!) ?? 0, dead.has(ids[n]!)]
  const wanted = (n: number) => [chosen[n], WAYS[chosen[n]!]!.effects, WAYS[chosen[n]!]!.dead ?? false]
  expect(ids.map((_, n) => outcome(n))).toEqual(ids.map((_, n) => wanted(n)))
})

test.for([
  ['sends one statement', write],
  ['publishes', volley],
] as const)('a handler that %s costs one round trip, whatever the size of its batch', async ([, send]) => {
  const queue = await makeQueue(db.pool)
  const trips = new Map<number, number>()
  const pidOf = (client: unknown) => (client as { processID: number }).processID
  const { consumer } = processOn(db.url, {
    database: (pool) => {
      pool.on('connect', (connected) => {
        const { connection } = connected as unknown as { connection: NodeJS.EventEmitter }
        connection.on('readyForQuery', () => {
          trips.set(pidOf(connected), 1 + (trips.get(pidOf(connected)) ?? 0))
        })
      })
      return pgDatabase(pool)
    },
  })
  const first: number[] = []
  await publishReady(db.pool, queue, 40)
  await consumer(queue, { concurrency: 1, batchSize: 10 })
    .otherwise(async (delivery, { tx }) => {
      await send(delivery, tx, queue.name)
      first.push(trips.get(pidOf(tx))!)
    })
    .start()
  await drained(db.pool, queue, 40)

  // the first batch meets a connection that is not known yet
  const last = first.slice(30)
  expect(last.map((n) => n - last[0]!)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})
