import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { orderOf } from '../../src/demo/order.ts'
import { Intents, readIntents } from '../../src/demo/record.ts'
import { Tickets } from '../../src/demo/tickets.ts'
import { scratch } from '../support/process.ts'

describe('orders', () => {
  test('are the same for the same seed and number, and others for others', () => {
    expect(orderOf(1, 7)).toEqual(orderOf(1, 7))
    expect(orderOf(1, 7)).not.toEqual(orderOf(2, 7))
    expect(orderOf(1, 7)).not.toEqual({ ...orderOf(1, 8), id: 7 })
  })

  test('cost what their lines cost, and a few per cent are rolled back', () => {
    const orders = Array.from({ length: 5_000 }, (_, index) => orderOf(1, index + 1))
    for (const { lines, totalCents } of orders)
      expect(lines.reduce((sum, { cents }) => sum + cents, 0)).toBe(totalCents)
    const rolledBack = orders.filter(({ rollsBack }) => rollsBack).length / orders.length
    expect(rolledBack).toBeGreaterThan(0.02)
    expect(rolledBack).toBeLessThan(0.05)
  })
})

describe("the producers' record", () => {
  test('holds an intent when intend() has answered, and knows as unknown what nobody learnt', async () => {
    using directory = scratch()
    const path = join(directory.path, 'intents.ndjson')
    const intents = await Intents.appendTo(path)
    const told = [1, 2, 3].map((order) => ({ order, messageId: `m${order}`, totalCents: order }))
    await Promise.all(told.map((intent) => intents.intend(intent)))
    expect(readFileSync(path, 'utf8').split('\n').filter(Boolean)).toHaveLength(3)
    await intents.learn({ order: 1, outcome: 'committed' })
    await intents.learn({ order: 2, outcome: 'rolledBack' })
    await intents[Symbol.asyncDispose]()
    expect(await readIntents(path)).toEqual([
      { order: 1, messageId: 'm1', totalCents: 1, outcome: 'committed' },
      { order: 2, messageId: 'm2', totalCents: 2, outcome: 'rolledBack' },
      { order: 3, messageId: 'm3', totalCents: 3, outcome: 'unknown' },
    ])
  })

  test('keeps whole lines when several append to one file', async () => {
    using directory = scratch()
    const path = join(directory.path, 'intents.ndjson')
    const producers = await Promise.all([1, 2, 3].map(() => Intents.appendTo(path)))
    await Promise.all(
      Array.from({ length: 300 }, (_, order) =>
        producers[order % 3]!.intend({ order, messageId: 'm'.repeat(order % 40), totalCents: 1 }),
      ),
    )
    for (const producer of producers) await producer[Symbol.asyncDispose]()
    expect(await readIntents(path)).toHaveLength(300)
  })
})

describe('tickets', () => {
  test('let nobody pass before they are granted', async () => {
    const tickets = new Tickets()
    const passed: number[] = []
    const all = [3, 1, 2].map(async (number) => {
      await tickets.reach(number)
      passed.push(number)
    })
    tickets.grant(2)
    await Promise.all(all.slice(1))
    expect(passed).toEqual([1, 2])
    tickets.grant(1)
    tickets.grant(3)
    await Promise.all(all)
    expect(passed).toEqual([1, 2, 3])
  })
})
