import type { PoolClient } from 'pg'
import { describe, expect, inject, test } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { type CrashPoint, crashPoints, createTestDatabase, testKit } from '../../src/testing.ts'

const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string() }))
const topology = defineTopology({ queues: { billing: { from: [OrderPlaced] } } })

async function shop() {
  const database = await createTestDatabase({ url: inject('server').url })
  await database.pool.query('create table charges (order_id text primary key)')
  const points = crashPoints(pgDatabase<PoolClient>(database.pool))
  const make = (of: typeof points.database) => {
    const posthaste = new Posthaste({ database: of, topology })
    posthaste.consumer('billing').on(OrderPlaced, async ({ payload }, { tx }) => {
      await tx.query('insert into charges values ($1)', [payload.orderId])
    })
    return posthaste
  }
  const first = make(points.database)
  const second = make(pgDatabase<PoolClient>(database.pool))
  const charges = async () => (await database.pool.query('select order_id from charges')).rows
  return { database, points, first, second, charges }
}

describe('a process that dies', () => {
  const CONSUMING: readonly CrashPoint[] = [
    'before-claim',
    'after-claim',
    'before-settle',
    'after-settle',
    'before-commit',
    'after-commit',
  ]

  test.concurrent.each(CONSUMING)('%s leaves a message whose effect the next one sees exactly once', async (point) => {
    const { database, points, first, second, charges } = await shop()
    await using _ = database
    await second.declare()
    await pgDatabase(database.pool).transaction((tx) => second.publish(tx, OrderPlaced.create({ orderId: '1' })))
    const died = points.at(point)
    await first.start()
    await died
    expect(points.crashed).toBe(true)
    await first.stop({ timeoutMs: 100 })
    expect(await charges()).toHaveLength(point === 'after-commit' ? 1 : 0)
    await testKit(second).drain({ strict: true })
    expect(await charges()).toEqual([{ order_id: '1' }])
    expect((await second.audit()).difference).toBe(0)
  })

  test.concurrent.each(['before-route', 'after-route'] as const)('%s leaves nothing unrouted', async (point) => {
    const { database, points, first, second, charges } = await shop()
    await using _ = database
    await second.declare()
    await pgDatabase(database.pool).transaction((tx) => second.publish(tx, OrderPlaced.create({ orderId: '1' })))
    const died = points.at(point)
    await first.start({ consumers: false })
    await died
    await first.stop()
    await testKit(second).drain({ strict: true })
    expect(await charges()).toEqual([{ order_id: '1' }])
  })

  test.concurrent.each([
    ['after-publish', 0],
    ['before-commit', 0],
    ['after-commit', 1],
  ] as const)('%s of a producer leaves all of its transaction or nothing', async (point, published) => {
    const { database, points, first, second, charges } = await shop()
    await using _ = database
    await second.declare()
    const died = points.at(point)
    const placed = points.database.transaction(async (tx) => {
      await tx.query(`insert into charges values ('of the producer')`)
      if (point === 'after-publish')
        await points.database.queryable(tx).query('select id from posthaste.publish_all($1::text)', ['[]'])
      await second.publish(tx, OrderPlaced.create({ orderId: '1' }))
    })
    await expect(placed).rejects.toThrow()
    await died
    await expect(first.declare()).rejects.toThrow('its process died')
    expect(await charges()).toHaveLength(published)
    expect(await testKit(second).published(OrderPlaced)).toHaveLength(published)
  })
})
