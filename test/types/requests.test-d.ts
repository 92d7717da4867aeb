import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { type Consumer, defineMessage, type Posthaste } from '../../src/index.ts'

const Get = defineMessage('get', z.object({ sku: z.string() }), {
  reply: z.object({ at: z.string().transform((text) => new Date(text)) }),
})
const Told = defineMessage('told', z.object({ sku: z.string() }))
declare const posthaste: Posthaste<{ query: () => void }>
declare const consumer: Consumer<{ query: () => void }>

test('a request takes the input of its contract and answers with the output of the reply', () => {
  expectTypeOf(posthaste.request(Get, { sku: 'a' })).resolves.toEqualTypeOf<{ at: Date }>()
  // @ts-expect-error sku is a text
  void posthaste.request(Get, { sku: 1 })
  // @ts-expect-error a contract without a reply is no request
  void posthaste.request(Told, { sku: 'a' })
})

test('a handler of requests returns the input of the reply, or an outcome', () => {
  consumer.reply(Get, async (delivery, { tx }) => {
    expectTypeOf(delivery.payload).toEqualTypeOf<{ sku: string }>()
    expectTypeOf(tx).toEqualTypeOf<{ query: () => void }>()
    return delivery.payload.sku === '' ? delivery.discard('empty') : { at: '2026-01-01' }
  })
  // @ts-expect-error the reply is missing
  consumer.reply(Get, async () => {})
  // @ts-expect-error the reply has another type
  consumer.reply(Get, () => ({ at: 5 }))
})

test('a batch handler gets deliveries of its contract', () => {
  consumer.onBatch(Told, async (deliveries) => {
    expectTypeOf(deliveries[0]!.payload).toEqualTypeOf<{ sku: string }>()
    return new Map(deliveries.map((delivery) => [delivery.id, delivery.retry()]))
  })
})
