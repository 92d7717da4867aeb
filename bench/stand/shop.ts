import { z } from 'zod'
import { defineMessage } from '../../src/rules/contract.ts'
import { defineTopology } from '../../src/rules/topology.ts'

/** What the workloads publish: some 90 bytes of payload, as in the README. */
export const schema = z.object({ orderId: z.string(), cents: z.int(), country: z.string() })

export const OrderPlaced = defineMessage('order.placed', schema, { exchange: 'orders', key: (order) => order.orderId })

export const topology = defineTopology({ exchanges: { orders: 'topic' }, queues: { billing: { from: [OrderPlaced] } } })

const QUEUES = Array.from({ length: 20 }, (_, i) => `queue-${i + 1}`)

/** As many queues as an idle process may reasonably have, each bound to the same messages. */
export const twentyQueues = defineTopology({
  exchanges: { orders: 'topic' },
  queues: Object.fromEntries(QUEUES.map((name) => [name, { from: [OrderPlaced] }])),
})
