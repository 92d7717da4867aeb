import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ContractViolation, InvalidContract, UnknownVersion } from '../../src/errors.ts'
import { type ContractOptions, defineMessage, isContract } from '../../src/rules/contract.ts'

const Order = z.object({ orderId: z.string(), cents: z.int(), country: z.string().default('DE') })

const OrderPlaced = defineMessage('order.placed', Order, {
  exchange: 'orders',
  key: (order) => order.orderId,
  routingKey: (order) => `order.placed.${order.country ?? 'DE'}`,
})

async function violation(parse: () => unknown): Promise<ContractViolation> {
  try {
    await parse()
  } catch (error) {
    if (error instanceof ContractViolation) return error
    throw error
  }
  throw new Error('was accepted')
}

describe('a contract', () => {
  test('makes messages of its own, each with an id', () => {
    const first = OrderPlaced.create({ orderId: 'o1', cents: 1 })
    const second = OrderPlaced.create({ orderId: 'o1', cents: 1 }, { routingKey: 'other', key: 'k' })
    expect(first).toMatchObject({ type: 'order.placed', exchange: 'orders', key: 'o1', routingKey: 'order.placed.DE' })
    expect(second).toMatchObject({ routingKey: 'other', key: 'k' })
    expect(second.id).not.toBe(first.id)
    expect(first.contract).toBe(OrderPlaced)
    expect(isContract(OrderPlaced)).toBe(true)
    expect(isContract({ exchange: 'orders' })).toBe(false)
  })

  test('without options goes to the default exchange under its own name, without a key', () => {
    const Plain = defineMessage('plain', z.object({}))
    expect(Plain.create({})).toMatchObject({ exchange: '', routingKey: 'plain', key: undefined, version: 1 })
  })

  test('stores the input and gives handlers the output', () => {
    const message = OrderPlaced.create({ orderId: 'o1', cents: 1 })
    expect(message.payload).toEqual({ orderId: 'o1', cents: 1 })
    expect(OrderPlaced.parse(message.payload)).toEqual({ orderId: 'o1', cents: 1, country: 'DE' })
  })

  test('parses with an async schema, and waits for it', async () => {
    const Slow = defineMessage(
      'slow',
      z.string().refine(async (text) => text === 'known'),
    )
    expect(await Slow.parse('known')).toBe('known')
    await expect(Slow.parse('unknown')).rejects.toBeInstanceOf(ContractViolation)
  })

  test('says where a payload leaves it, and quotes no value of it', async () => {
    const error = await violation(() => OrderPlaced.parse({ orderId: 4_111_111_111_111_111, cents: 1.5 }))
    expect(error.issues.map(({ path }) => path)).toEqual(['payload.orderId', 'payload.cents'])
    expect(error.message).toMatch(/^Cannot accept "order\.placed": payload\.orderId: Invalid input: expected string/)
    expect(error.message).not.toMatch(/4111/)
    expect(error).toMatchObject({ code: 'CONTRACT_VIOLATION', contract: 'order.placed' })
  })

  test.each([
    ['valibot', 'Invalid type: Expected number but received "4111 Jane"', 'Invalid type: Expected number'],
    ['arktype', 'card must be a number (was "Jane")', 'must be a number'],
    ['somebody', 'Jane is not a number', 'does not fit the schema'],
    ['zod', 'card 4111 1111 1111 1111 is bad', 'card [digits] is bad'],
  ])('drops the values that %s quotes', async (vendor, message, told) => {
    const schema = {
      '~standard': { version: 1 as const, vendor, validate: () => ({ issues: [{ message, path: ['card'] }] }) },
    }
    const { issues } = await violation(() => defineMessage('m', schema).parse({}))
    expect(issues).toEqual([{ path: 'payload.card', message: told }])
  })

  test('whose key cannot be taken from a payload says so', () => {
    const Deep = defineMessage('deep', z.object({ a: z.object({ b: z.string() }) }), { key: ({ a }) => a.b })
    expect(() => Deep.create({} as { a: { b: string } })).toThrow('Cannot publish "deep": key cannot be taken')
  })

  test.each<[string, () => unknown, string]>([
    ['an empty name', () => defineMessage('', Order), 'its name is empty'],
    ['no schema', () => defineMessage('m', {} as typeof Order), 'its schema is no Standard Schema'],
    ['a version of 0', () => defineMessage('m', Order, { version: 0 }), 'its version is not a whole number'],
    [
      'a line break in its exchange',
      () => defineMessage('m', Order, { exchange: 'a\n' }),
      'its exchange holds a control character',
    ],
    [
      'an upcaster from its own version',
      () => defineMessage('m', Order, { version: 2, upcast: { 2: (p) => p } }),
      'upcaster "2"',
    ],
    [
      'a gap',
      () => defineMessage('m', Order, { version: 4, upcast: { 1: (p) => p, 3: (p) => p } }),
      'no upcaster from version 2',
    ],
  ])('with %s is refused', (_, define, reason) => {
    expect(define).toThrow(InvalidContract)
    expect(define).toThrow(reason)
  })

  test('refuses an option nobody reads', () => {
    const options = { exchagne: 'orders' } as ContractOptions
    expect(() => defineMessage('m', Order, options)).toThrow('Unknown option "exchagne": did you mean "exchange"?')
  })
})

describe('an earlier version', () => {
  const Renamed = defineMessage('renamed', z.object({ total: z.int(), currency: z.string() }), {
    version: 4,
    upcast: {
      2: ({ cents }: { cents: number }) => ({ total: cents }),
      3: (payload: { total: number }) => ({ ...payload, currency: 'EUR' }),
    },
  })

  test('goes through every upcaster on its way', () => {
    expect(Renamed.parse({ cents: 5 }, 2)).toEqual({ total: 5, currency: 'EUR' })
    expect(Renamed.parse({ total: 5 }, 3)).toEqual({ total: 5, currency: 'EUR' })
    expect(Renamed.parse({ total: 5, currency: 'USD' }, 4)).toEqual({ total: 5, currency: 'USD' })
    expect(Renamed.parse({ total: 5, currency: 'USD' })).toEqual({ total: 5, currency: 'USD' })
  })

  test.each([1, 5, 0])('that nobody can read any more, or yet, is told: %i', (version) => {
    expect(() => Renamed.parse({ cents: 5 }, version)).toThrow(UnknownVersion)
  })

  test('goes to the schema as it is when there are no upcasters', () => {
    const Grown = defineMessage('grown', z.object({ a: z.string().default('new') }), { version: 3 })
    expect(Grown.parse({}, 1)).toEqual({ a: 'new' })
  })
})
