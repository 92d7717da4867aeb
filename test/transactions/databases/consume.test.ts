import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaClient } from '@prisma/client'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { drizzle } from 'drizzle-orm/node-postgres'
import { pgTable, text } from 'drizzle-orm/pg-core'
import knexOf from 'knex'
import pg from 'pg'
import { DataSource, EntitySchema } from 'typeorm'
import { describe, expect, test } from 'vitest'
import type { Database } from '../../../src/database.ts'
import { drizzleDatabase } from '../../../src/databases/drizzle.ts'
import { knexDatabase } from '../../../src/databases/knex.ts'
import { prismaDatabase } from '../../../src/databases/prisma.ts'
import { typeormDatabase } from '../../../src/databases/typeorm.ts'
import { defineMessage, defineTopology, Posthaste } from '../../../src/index.ts'
import { createDatabase } from '../../support/database.ts'
import { run } from '../../support/server.ts'

interface Order {
  readonly id: string
  readonly fails?: 'once' | 'sql'
}
const anything: StandardSchemaV1<Order> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as Order }) },
}
const Placed = defineMessage('placed', anything)
const Billed = defineMessage('billed', anything)
const topology = defineTopology({
  queues: {
    billing: { from: [Placed], retry: { minMs: 1, jitter: 'none', maxAttempts: 3 } },
    mail: { from: [Billed] },
  },
})

/** A database in a library, and what its user does with `tx`: its own means, a nested transaction taken back, and one kept. */
interface Consumed<Tx> extends AsyncDisposable {
  readonly database: Database<Tx>
  insert(tx: Tx, id: string): Promise<unknown>
  fail(tx: Tx): Promise<unknown>
  nested?(tx: Tx, work: (tx: Tx) => Promise<unknown>): Promise<unknown>
}

const orders = pgTable('orders', { id: text().primaryKey() })
const OrderEntity = new EntitySchema<{ id: string }>({
  name: 'Order',
  tableName: 'orders',
  columns: { id: { type: 'text', primary: true } },
})

const LIBRARIES = {
  async drizzle(url: string) {
    const db = drizzle({ client: new pg.Pool({ connectionString: url }) })
    const database = drizzleDatabase(db)
    return consumed({
      database,
      insert: (tx, id) => tx.insert(orders).values({ id }),
      fail: (tx) => tx.execute('select 1 / 0'),
      nested: (tx, work) => tx.transaction(work),
      [Symbol.asyncDispose]: () => db.$client.end(),
    })
  },
  async prisma(url: string) {
    const pool = new pg.Pool({ connectionString: url })
    const prisma = new PrismaClient({ adapter: new PrismaPg(pool) })
    return consumed({
      database: prismaDatabase(prisma, { pool }),
      insert: (tx, id) => tx.order.create({ data: { id } }),
      fail: (tx) => tx.$executeRaw`select 1 / 0`,
      async [Symbol.asyncDispose]() {
        await prisma.$disconnect()
        await pool.end()
      },
    })
  },
  async knex(url: string) {
    const knex = knexOf({ client: 'pg', connection: url })
    return consumed({
      database: knexDatabase(knex),
      insert: (trx, id) => trx('orders').insert({ id }),
      fail: (trx) => trx.raw('select 1 / 0'),
      nested: (trx, work) => trx.transaction(work),
      [Symbol.asyncDispose]: () => knex.destroy(),
    })
  },
  async typeorm(url: string) {
    const dataSource = await new DataSource({ type: 'postgres', url, entities: [OrderEntity] }).initialize()
    return consumed({
      database: typeormDatabase(dataSource),
      insert: (manager, id) => manager.insert(OrderEntity, { id }),
      fail: (manager) => manager.query('select 1 / 0'),
      nested: (manager, work) => manager.transaction(work),
      [Symbol.asyncDispose]: () => dataSource.destroy(),
    })
  },
}

function consumed<Tx>(given: Consumed<Tx>): Consumed<unknown> {
  return given as Consumed<unknown>
}

describe.each(Object.entries(LIBRARIES))('a handler’s tx of %s', (_, open) => {
  test('writes effects that are committed once with their message, whatever fails', async () => {
    await using scratch = await createDatabase()
    await run(scratch.url, 'create table orders (id text primary key)')
    await using library = await open(scratch.url)
    const posthaste = new Posthaste({ database: library.database, topology })
    const seen: string[] = []
    posthaste
      .consumer('billing', { concurrency: 4, batchSize: 10 })
      .on(Placed, async ({ payload, attempt }, { tx, publish }) => {
        await library.insert(tx, payload.id)
        await publish(Billed.create({ id: payload.id }))
        await library.nested?.(tx, (inner) => library.insert(inner, `${payload.id} nested`))
        await library
          .nested?.(tx, async (inner) => {
            await library.insert(inner, `${payload.id} taken back`)
            throw new Error('taken back')
          })
          .catch(() => {})
        if (payload.fails === 'once' && attempt === 1) throw new Error('once')
        if (payload.fails === 'sql') await library.fail(tx)
      })
    posthaste.consumer('mail').on(Billed, async ({ payload }) => {
      seen.push(payload.id)
    })
    await posthaste.start()
    const dead = posthaste.until('dead-lettered')
    const given: Order[] = Array.from({ length: 40 }, (_, n) => ({
      id: `${n}`,
      ...(n % 10 === 3 && { fails: 'once' as const }),
    }))
    await library.database.transaction((tx) =>
      posthaste.publish(
        tx as never,
        [...given, { id: 'bad', fails: 'sql' as const }].map((order) => Placed.create(order)),
      ),
    )
    await dead
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(40)
    await posthaste.stop()

    const there = (await run(scratch.url, 'select id from orders')).rows.map(({ id }) => id).sort()
    const expected = given.flatMap(({ id }) => (library.nested ? [id, `${id} nested`] : [id]))
    expect(there).toEqual(expected.sort())
    expect([...seen].sort()).toEqual(given.map(({ id }) => id).sort())
    expect((await posthaste.audit()).difference).toBe(0)
    const [letter] = await posthaste.deadLetters.list()
    expect(letter).toMatchObject({ attempts: 3, history: [{ code: '22012', message: 'division by zero' }, {}, {}] })
  })

  test('is refused after its handler, also to what the handler left behind', async () => {
    await using scratch = await createDatabase()
    await run(scratch.url, 'create table orders (id text primary key)')
    await using library = await open(scratch.url)
    const posthaste = new Posthaste({ database: library.database, topology })
    const late: Promise<string>[] = []
    const gate = Promise.withResolvers<void>()
    posthaste.consumer('billing', { concurrency: 1, batchSize: 5 }).on(Placed, async ({ payload }, { tx }) => {
      await library.insert(tx, payload.id)
      const n = Number(payload.id)
      if (n === 0)
        late.push(
          gate.promise
            .then(() => library.insert(tx, 'late'))
            .then(
              () => 'written',
              () => 'refused',
            ),
        )
      if (n === 1) {
        gate.resolve()
        await Promise.all(late)
      }
    })
    await library.database.transaction((tx) =>
      posthaste.publish(
        tx as never,
        ['0', '1', '2'].map((id) => Placed.create({ id })),
      ),
    )
    let completed = 0
    posthaste.on('completed', () => (completed += 1))
    await posthaste.start()
    await expect.poll(() => completed, { timeout: 20_000 }).toBe(3)
    await posthaste.stop()
    expect(await Promise.all(late)).toEqual(['refused'])
    expect((await run(scratch.url, 'select id from orders order by id')).rows).toEqual([
      { id: '0' },
      { id: '1' },
      { id: '2' },
    ])
  })
})
