import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { auditShop, type Findings } from '../../src/demo/audit.ts'
import { SERVICES, TABLES } from '../../src/demo/shop.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { scratch } from '../support/process.ts'

// Order 1 is committed, 2 rolled back, 3 unknown and there, 4 unknown and not there.
const RECORD = [
  { order: 1, messageId: id(1), totalCents: 100 },
  { order: 1, outcome: 'committed' },
  { order: 2, messageId: id(2), totalCents: 100 },
  { order: 2, outcome: 'rolledBack' },
  { order: 3, messageId: id(3), totalCents: 100 },
  { order: 3, outcome: 'unknown' },
  { order: 4, messageId: id(4), totalCents: 100 },
]

describe("the demo's audit", () => {
  let database: TestDatabase
  let directory: ReturnType<typeof scratch>
  let record: string

  beforeAll(async () => {
    database = await createDatabase()
    await database.pool.query(TABLES)
    directory = scratch()
    record = join(directory.path, 'intents.ndjson')
    for (const entry of RECORD) appendFileSync(record, `${JSON.stringify(entry)}\n`)
  })

  afterAll(async () => {
    directory[Symbol.dispose]()
    await database.drop()
  })

  beforeEach(async () => {
    await database.pool.query('truncate shop.orders, shop.order_lines, shop.effects, shop.ledger, shop.stock')
    await database.pool.query("insert into shop.stock values ('lamp', 10, 8)")
    for (const order of [1, 3]) await place(order)
  })

  test('finds nothing where nothing is wrong, and counts what is unknown as unknown', async () => {
    expect(await audit()).toEqual({
      orders: { committed: 1, rolledBack: 1, unknown: 2 },
      effects: { billing: 2, inventory: 2, notifications: 2 },
      lost: 0,
      duplicates: 0,
      phantoms: 0,
      oversold: 0,
    })
  })

  test.each([
    ['an effect that is missing', "delete from shop.effects where order_id = 3 and service = 'notifications'"],
    ['an entry that is missing', 'delete from shop.ledger where order_id = 1'],
    ['an entry with another amount', 'update shop.ledger set cents = 99 where order_id = 1'],
    ['an order without its lines', 'delete from shop.order_lines where order_id = 1 and cents = 30'],
    ['a unit sold and not taken', 'update shop.stock set remaining = 9'],
  ])('counts %s as lost', async (_, mistake) => {
    await database.pool.query(mistake)
    expect(await audit()).toMatchObject({ lost: 1, duplicates: 0, phantoms: 0, oversold: 0 })
  })

  test('counts a committed order that is gone as lost, whatever else is gone with it', async () => {
    for (const table of ['effects', 'ledger', 'order_lines'])
      await database.pool.query(`delete from shop.${table} where order_id = 1`)
    await database.pool.query('delete from shop.orders where id = 1; update shop.stock set remaining = 9')
    expect(await audit()).toMatchObject({ lost: 1, duplicates: 0, phantoms: 0, oversold: 0 })
  })

  test.each([
    ['an effect', "insert into shop.effects select * from shop.effects where order_id = 1 and service = 'billing'"],
    [
      'an effect on the stock',
      "insert into shop.effects select * from shop.effects where order_id = 1 and service = 'inventory'",
    ],
    ['an entry', 'insert into shop.ledger select * from shop.ledger where order_id = 1'],
    ['a unit taken and not sold', 'update shop.stock set remaining = 7'],
  ])('counts %s too many as duplicated', async (_, mistake) => {
    await database.pool.query(mistake)
    expect(await audit()).toMatchObject({ lost: 0, duplicates: 1, phantoms: 0, oversold: 0 })
  })

  test.each([
    ['an order that its producer knows to be rolled back', async () => await place(2, { stock: false }), 1],
    ['an effect of an order that is not there', async () => await effect('billing', 4, 4), 1],
    ['an entry of an order that is not there', async () => await entry(4), 1],
    [
      'an effect of a message that nobody meant',
      async () =>
        await change('update shop.effects set message_id = $1 where order_id = 1 and service = $2', [id(9), 'billing']),
      1,
    ],
  ])('counts %s as a phantom', async (_, mistake, phantoms) => {
    await mistake()
    expect(await audit()).toMatchObject({ lost: 0, duplicates: 0, phantoms, oversold: 0 })
  })

  test('counts units sold beyond the stock as oversold', async () => {
    await database.pool.query('update shop.stock set stocked = 1, remaining = -1')
    expect(await audit()).toMatchObject({ lost: 0, duplicates: 0, phantoms: 0, oversold: 1 })
  })

  async function audit(): Promise<Partial<Findings>> {
    const { orders, effects, lost, duplicates, phantoms, oversold } = await auditShop(database.pool, record)
    return { orders, effects, lost, duplicates, phantoms, oversold }
  }

  async function place(order: number, { stock = true } = {}): Promise<void> {
    await change('insert into shop.orders (id, customer, total_cents) values ($1, $2, 100)', [order, 'somebody'])
    await change("insert into shop.order_lines values ($1, 'lamp', 1, 70), ($1, 'express', 1, 30)", [order])
    for (const service of SERVICES)
      await effect(service, order, order, service === 'inventory' && !stock ? 'refused' : 'reserved')
    await entry(order)
  }

  const entry = (order: number) => change('insert into shop.ledger (order_id, cents) values ($1, 100)', [order])

  const effect = (service: string, order: number, message: number, outcome = 'reserved') =>
    change('insert into shop.effects (service, order_id, message_id, outcome) values ($1, $2, $3, $4)', [
      service,
      order,
      id(message),
      outcome,
    ])

  async function change(text: string, values: unknown[]): Promise<void> {
    await database.pool.query(text, values)
  }
})

function id(number: number): string {
  return `01900000-0000-7000-8000-00000000000${number}`
}
