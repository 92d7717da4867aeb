import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { InvalidMessage, UnknownOption } from '../../src/errors.ts'
import { defineMessage } from '../../src/rules/contract.ts'
import {
  batches,
  check,
  encode,
  newMessageId,
  type PublishOptions,
  prepare,
  type RawMessage,
} from '../../src/rules/message.ts'
import { DEFAULT_LIMITS } from '../../src/rules/validate.ts'

const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string() }), {
  exchange: 'orders',
  key: (order) => order.orderId,
})
const raw = { type: 'note', payload: { a: 1 } }
const ID = '019AAAAA-0000-7000-8000-000000000001'

const wire = (given: RawMessage, options?: PublishOptions) =>
  JSON.parse(encode(check(prepare(given, options), DEFAULT_LIMITS)))

function refusal(given: object, options?: PublishOptions): InvalidMessage {
  try {
    wire(given as RawMessage, options)
  } catch (error) {
    if (error instanceof InvalidMessage) return error
    throw error
  }
  throw new Error('was accepted')
}

describe('on the wire', () => {
  test('a plain message says only what is not default', () => {
    const message = OrderPlaced.create({ orderId: 'o1' })
    expect(JSON.parse(encode(check(message, DEFAULT_LIMITS)))).toEqual({
      id: message.id,
      exchange: 'orders',
      routing_key: 'order.placed',
      type: 'order.placed',
      key: 'o1',
      payload: { orderId: 'o1' },
    })
  })

  test('every option arrives', () => {
    const options = {
      id: ID,
      headers: { trace: 'abc', n: [1] },
      priority: 9,
      deliverAt: new Date('2030-01-02T03:04:05.678Z'),
      expiresInMs: 60_000.4,
      correlationId: 'conversation',
      causationId: 'cause',
      key: 'k',
      routingKey: 'order.placed.de',
      lockKey: true,
    }
    expect(JSON.parse(encode(check(OrderPlaced.create({ orderId: 'o1' }, options), DEFAULT_LIMITS)))).toEqual({
      id: ID.toLowerCase(),
      own_id: true,
      exchange: 'orders',
      routing_key: 'order.placed.de',
      type: 'order.placed',
      key: 'k',
      priority: 9,
      deliver_at: '2030-01-02T03:04:05.678Z',
      expires_in_ms: 60_000,
      correlation_id: 'conversation',
      causation_id: 'cause',
      lock_key: true,
      headers: { trace: 'abc', n: [1] },
      payload: { orderId: 'o1' },
    })
  })

  test('bytes travel as base64, and only the bytes of the view', () => {
    const all = Uint8Array.from({ length: 256 }, (_, index) => index)
    const sent = wire({ type: 'file', body: all.subarray(10, 250), contentType: 'application/pdf' })
    expect(Buffer.from(sent.body, 'base64')).toEqual(Buffer.from(all.subarray(10, 250)))
    expect(sent).toMatchObject({ content_type: 'application/pdf' })
    expect(sent).not.toHaveProperty('payload')
  })

  test('anything that passes is one JSON object with the strings it was given', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(name, name, fc.string({ unit: 'binary', maxLength: 40 }), (type, routingKey, key) => {
        try {
          const sent = wire({ type, routingKey, key, payload: {} })
          expect(sent).toMatchObject({ type: type.normalize('NFC'), routing_key: routingKey.normalize('NFC'), key })
        } catch (error) {
          if (!(error instanceof InvalidMessage)) throw error
          expect(error.path).toMatch(/^(type|routingKey|key)$/)
        }
      }),
    )
  })

  test('names are compared in one form, however they were typed', () => {
    expect(wire({ ...raw, routingKey: 'cafe\u0301' }).routing_key).toBe('caf\u00e9')
  })
})

describe('a message is refused, and the path says where, when', () => {
  test.each<[string, object, string]>([
    ['its type is empty', { ...raw, type: '' }, 'type'],
    ['its type is no text', { ...raw, type: 7 }, 'type'],
    ['its exchange has a line break', { ...raw, exchange: 'a\nb' }, 'exchange'],
    ['its routing key has NUL', { ...raw, routingKey: 'a\0' }, 'routingKey'],
    ['its routing key has 256 bytes', { ...raw, routingKey: 'é'.repeat(128) }, 'routingKey'],
    ['its key is empty', { ...raw, key: '' }, 'key'],
    ['its key has 1,025 bytes', { ...raw, key: 'x'.repeat(1_025) }, 'key'],
    ['its key is a number', { ...raw, key: 7 }, 'key'],
    ['its id is no uuid', { ...raw, id: '42' }, 'id'],
    ['its priority is 10', { ...raw, priority: 10 }, 'priority'],
    ['its priority is a fraction', { ...raw, priority: 1.5 }, 'priority'],
    ['its priority is a text', { ...raw, priority: '5' }, 'priority'],
    ['its version is 0', { ...raw, version: 0 }, 'version'],
    ['its version is too high', { ...raw, version: 32_768 }, 'version'],
    ['it is delayed by less than nothing', { ...raw, delayMs: -1 }, 'delayMs'],
    ['it is delayed by NaN', { ...raw, delayMs: Number.NaN }, 'delayMs'],
    ['it is delayed by eleven years', { ...raw, delayMs: 11 * 31_536_000_000 }, 'delayMs'],
    ['it has two times', { ...raw, delayMs: 1, deliverAt: new Date(1) }, 'delayMs'],
    ['its time is no date', { ...raw, deliverAt: new Date(Number.NaN) }, 'deliverAt'],
    ['its time is a text', { ...raw, deliverAt: '2030-01-01' }, 'deliverAt'],
    ['its time is in the year 10,000', { ...raw, deliverAt: new Date('+010000-01-01T00:00:00Z') }, 'deliverAt'],
    ['it expires at once', { ...raw, expiresInMs: 0 }, 'expiresInMs'],
    ['it never expires, infinitely', { ...raw, expiresInMs: Number.POSITIVE_INFINITY }, 'expiresInMs'],
    ['it locks a key it has not', { ...raw, lockKey: true }, 'lockKey'],
    ['its headers are a list', { ...raw, headers: [] }, 'headers'],
    ['a header is a Date', { ...raw, headers: { at: new Date(0) } }, 'headers.at'],
    ['a header has a line break in its name', { ...raw, headers: { 'a\r\nb': 1 } }, 'headers["a\\r\\nb"]'],
    ['its headers are too large', { ...raw, headers: { a: 'x'.repeat(65_530) } }, 'headers'],
    ['it has no content', { type: 'note' }, 'payload'],
    ['it says null', { type: 'note', payload: null }, 'payload'],
    ['it has two contents', { ...raw, body: new Uint8Array(1), contentType: 'x' }, 'body'],
    ['its body is a text', { type: 'note', body: 'x', contentType: 'x' }, 'body'],
    ['its body is too large', { type: 'note', body: new Uint8Array(1_048_577), contentType: 'x' }, 'body'],
    ['its body has no content type', { type: 'note', body: new Uint8Array(1) }, 'contentType'],
    ['its payload has a content type', { ...raw, contentType: 'x' }, 'contentType'],
    ['its correlation id has NUL', { ...raw, correlationId: '\0' }, 'correlationId'],
  ])('%s', (_, given, path) => {
    const error = refusal(given)
    expect(error.path).toBe(path)
    expect(error.message).toMatch(/^Cannot publish ".*": \S+ [a-z]/)
    expect(error.message).toMatch(/[^.]$/)
  })
})

describe('options', () => {
  test('given at publish win over those of the message', () => {
    const message = OrderPlaced.create({ orderId: 'o1' }, { priority: 1, delayMs: 5, correlationId: 'a' })
    const prepared = prepare(message, { priority: 2, deliverAt: new Date(0), correlationId: undefined })
    expect(prepared).toMatchObject({ id: message.id, priority: 2, delayMs: undefined, correlationId: 'a' })
    expect(prepared.deliverAt).toEqual(new Date(0))
    expect(prepare(message)).toBe(message)
  })

  test('that nobody reads are refused, with the one that was meant', () => {
    const delay = { delay: 5 } as PublishOptions
    expect(() => OrderPlaced.create({ orderId: 'o1' }, delay)).toThrow(
      'Unknown option "delay": did you mean "delayMs"?',
    )
    expect(() => prepare(OrderPlaced.create({ orderId: 'o1' }), delay)).toThrow(UnknownOption)
    expect(() => prepare({ ...raw, contenttype: 'x' } as RawMessage)).toThrow('did you mean "contentType"?')
  })

  test('an id of the publisher is remembered, one of ours is not', () => {
    expect(wire({ ...raw, id: ID })).toMatchObject({ id: ID.toLowerCase(), own_id: true })
    expect(wire(raw)).not.toHaveProperty('own_id')
    expect(wire(raw, { id: ID })).toMatchObject({ own_id: true })
  })
})

test('ids of one process ascend, also within a millisecond', () => {
  const ids = Array.from({ length: 10_000 }, newMessageId)
  expect(ids).toEqual([...ids].sort())
  expect(new Set(ids).size).toBe(ids.length)
})

test('batches keep the order, lose nothing, and stay within their size', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 600 }),
      (sizes, maxBytes) => {
        const messages = sizes.map((size, n) =>
          encode(check(prepare({ type: 't', payload: { n, filling: 'é'.repeat(size) } }), DEFAULT_LIMITS)),
        )
        const cut = batches(messages, maxBytes)
        expect(cut.flatMap(({ json }) => JSON.parse(json)).map(({ payload }) => payload.n)).toEqual(
          sizes.map((_, n) => n),
        )
        for (const { json, messages: count } of cut) {
          expect(JSON.parse(json)).toHaveLength(count)
          if (count > 1) expect(Buffer.byteLength(json)).toBeLessThanOrEqual(maxBytes + 1)
        }
      },
    ),
  )
})
