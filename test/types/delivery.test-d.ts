import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { EventBus } from '../../src/events.ts'
import { type Contract, defineMessage } from '../../src/rules/contract.ts'
import type { Delivery } from '../../src/rules/delivery.ts'
import type { HandlerResult } from '../../src/rules/outcome.ts'

const OrderPlaced = defineMessage('order.placed', z.object({ at: z.string().transform((text) => new Date(text)) }))

/** What a consumer of the facade offers. */
declare function on<In, Out>(
  contract: Contract<string, In, Out>,
  handler: (delivery: Delivery<Out>) => Promise<HandlerResult>,
): void

test('a handler infers its payload from the contract, and returns an outcome or nothing', () => {
  on(OrderPlaced, async ({ payload, retry }) => {
    expectTypeOf(payload).toEqualTypeOf<{ at: Date }>()
    if (payload.at.getTime() === 0) return retry({ delayMs: 1 })
    return undefined
  })
  on(OrderPlaced, async () => {})
  // @ts-expect-error: an outcome is made by the delivery, and 7 is none
  on(OrderPlaced, async () => 7)
})

test('a delivery is read, not written', () => {
  on(OrderPlaced, async (delivery) => {
    // @ts-expect-error: readonly
    delivery.attempt = 2
  })
})

test('an event is known by its name', () => {
  const bus = new EventBus()
  bus.on('retried', (event) => expectTypeOf(event.delayMs).toEqualTypeOf<number>())
  // @ts-expect-error: no such event
  bus.on('retired', () => {})
  // @ts-expect-error: a fact is missing
  bus.emit('routed', { messages: 1 })
})
