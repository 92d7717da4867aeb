import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { defineMessage } from '../../src/rules/contract.ts'
import { defineTopology, type Topology } from '../../src/rules/topology.ts'

const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string() }), { exchange: 'orders' })

const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: {
    billing: { from: [OrderPlaced], retry: { maxAttempts: 8 } },
    audit: { from: [{ exchange: 'orders', routingKey: 'order.#' }] },
    plain: {},
  },
})

/** What a consumer of the facade asks for: a queue of this topology. */
declare function consumer<Queue extends string>(topology: Topology<Queue>, queue: NoInfer<Queue>): void

test('the names of its queues are literal, so a typing mistake does not compile', () => {
  expectTypeOf(topology).toEqualTypeOf<Topology<'billing' | 'audit' | 'plain'>>()
  consumer(topology, 'billing')
  // @ts-expect-error: biling
  consumer(topology, 'biling')
})

test('any topology is a Topology', () => {
  expectTypeOf(topology).toExtend<Topology>()
  expectTypeOf(defineTopology({ queues: { a: {} } })).toEqualTypeOf<Topology<'a'>>()
})

test('a binding written out names an exchange of the topology', () => {
  // @ts-expect-error: oders
  defineTopology({ exchanges: { orders: 'topic' }, queues: { a: { from: [{ exchange: 'oders', routingKey: 'x' }] } } })
  // @ts-expect-error: there are no exchanges
  defineTopology({ queues: { a: { from: [{ exchange: 'orders', routingKey: 'x' }] } } })
  // @ts-expect-error: no such kind of exchange
  defineTopology({ exchanges: { orders: 'topics' }, queues: {} })
  // @ts-expect-error: maxAttempt
  defineTopology({ queues: { a: { retry: { maxAttempt: 1 } } } })
})
