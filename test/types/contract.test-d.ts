import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { type Contract, defineMessage, type InputOf, type PayloadOf } from '../../src/rules/contract.ts'
import type { Message } from '../../src/rules/message.ts'

const OrderPlaced = defineMessage(
  'order.placed',
  z.object({
    orderId: z.string(),
    at: z.string().transform((text) => new Date(text)),
    country: z.string().default('DE'),
  }),
  {
    exchange: 'orders',
    key: (order) => {
      expectTypeOf(order).toEqualTypeOf<{ orderId: string; at: string; country?: string | undefined }>()
      return order.orderId
    },
  },
)

type Input = { orderId: string; at: string; country?: string | undefined }
type Output = { orderId: string; at: Date; country: string }

test('create takes the input of the schema', () => {
  expectTypeOf(OrderPlaced.create).parameter(0).toEqualTypeOf<Input>()
  expectTypeOf(OrderPlaced.create({ orderId: 'o', at: 'now' })).toEqualTypeOf<Message<Input>>()
  // @ts-expect-error: a field of the schema is missing
  OrderPlaced.create({ orderId: 'o' })
  // @ts-expect-error: no such field
  OrderPlaced.create({ orderId: 'o', at: 'now', cents: 1 })
  // @ts-expect-error: no such option
  OrderPlaced.create({ orderId: 'o', at: 'now' }, { delay: 1 })
})

test('handlers get the output of the schema', () => {
  expectTypeOf<PayloadOf<typeof OrderPlaced>>().toEqualTypeOf<Output>()
  expectTypeOf<InputOf<typeof OrderPlaced>>().toEqualTypeOf<Input>()
  expectTypeOf(OrderPlaced.parse).returns.toEqualTypeOf<Output | Promise<Output>>()
})

test('a contract keeps its name, and is a Contract wherever one is asked for', () => {
  expectTypeOf(OrderPlaced.name).toEqualTypeOf<'order.placed'>()
  expectTypeOf(OrderPlaced).toExtend<Contract>()
})

test('options of a contract are checked', () => {
  // @ts-expect-error: exchagne
  defineMessage('m', z.object({}), { exchagne: 'orders' })
  // @ts-expect-error: the payload has no such field
  defineMessage('m', z.object({ a: z.string() }), { key: (payload) => payload.b })
})
