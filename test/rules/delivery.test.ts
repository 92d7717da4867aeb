import { describe, expect, test } from 'vitest'
import { ForeignOutcome, InvalidOption, OutcomeNotReturned } from '../../src/errors.ts'
import { type DeliveryFacts, openDelivery } from '../../src/rules/delivery.ts'
import { isOutcome } from '../../src/rules/outcome.ts'

const FACTS: DeliveryFacts<{ a: number }> = {
  id: '019aaaaa-0000-7000-8000-000000000001',
  type: 'order.placed',
  version: 1,
  exchange: 'orders',
  routingKey: 'order.placed',
  key: undefined,
  priority: 0,
  headers: {},
  payload: { a: 1 },
  body: undefined,
  contentType: undefined,
  correlationId: undefined,
  causationId: undefined,
  publishedAt: new Date(0),
  position: '1',
  queue: 'billing',
  attempt: 1,
  maxAttempts: 10,
  crashes: 0,
  errors: [],
}

describe('what a handler returns', () => {
  test('nothing means complete', () => {
    expect(openDelivery(FACTS).settle(undefined)).toEqual({ kind: 'complete' })
    expect(openDelivery(FACTS).settle({ kind: 'retry' })).toEqual({ kind: 'complete' })
  })

  test('an outcome means what it says, its makers taken apart or not', () => {
    const { delivery, settle } = openDelivery(FACTS)
    const { retry, deadLetter, discard } = delivery
    expect(settle(retry({ delayMs: 5.4 }))).toEqual({ kind: 'retry', delayMs: 5 })
    expect(settle(retry())).toEqual({ kind: 'retry', delayMs: undefined })
    expect(settle(deadLetter('unknown customer'))).toEqual({ kind: 'dead-letter', reason: 'unknown customer' })
    expect(settle(discard('not for us'))).toEqual({ kind: 'discard', reason: 'not for us' })
  })

  test('an outcome made and not returned fails the attempt', () => {
    const { delivery, settle } = openDelivery(FACTS)
    delivery.retry()
    expect(() => settle(undefined)).toThrow(OutcomeNotReturned)
  })

  test('an outcome of another delivery is refused', () => {
    const other = openDelivery(FACTS).delivery.retry()
    expect(() => openDelivery(FACTS).settle(other)).toThrow(ForeignOutcome)
  })

  test('cannot be made up by hand', () => {
    expect(isOutcome({ kind: 'retry', delayMs: 1 })).toBe(false)
    expect(isOutcome(openDelivery(FACTS).delivery.retry())).toBe(true)
  })
})

test('reasons show no card number', () => {
  const outcome = openDelivery(FACTS).delivery.deadLetter('card 4111-1111-1111-1111 is blocked')
  expect(outcome).toMatchObject({ reason: 'card [digits] is blocked' })
})

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '5' as unknown as number])(
  'a delay of %s is refused',
  (delayMs) => {
    expect(() => openDelivery(FACTS).delivery.retry({ delayMs })).toThrow(InvalidOption)
  },
)

test('a delivery is redelivered after an attempt, and after a crash', () => {
  const redelivered = (facts: Partial<DeliveryFacts>) => openDelivery({ ...FACTS, ...facts }).delivery.redelivered
  expect(redelivered({})).toBe(false)
  expect(redelivered({ attempt: 2 })).toBe(true)
  expect(redelivered({ crashes: 1 })).toBe(true)
})
