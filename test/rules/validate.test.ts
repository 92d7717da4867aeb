import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InvalidMessage } from '../../src/errors.ts'
import { jsonText } from '../../src/rules/json-text.ts'

const place = { messageType: 'order.placed', path: 'payload' }
const text = (value: unknown, maxBytes = 1_048_576) => jsonText(value, maxBytes, place)

function refusal(value: unknown, maxBytes?: number): InvalidMessage {
  try {
    text(value, maxBytes)
  } catch (error) {
    if (error instanceof InvalidMessage) return error
    throw error
  }
  throw new Error('was accepted')
}

/** What is promised to differ: undefined properties are gone, −0 is 0, and prototypes are ordinary. */
function asPromised(value: unknown): unknown {
  if (Object.is(value, -0)) return 0
  if (Array.isArray(value)) return value.map(asPromised)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([, child]) => child !== undefined)
  return Object.fromEntries(kept.map(([key, child]) => [key, asPromised(child)]))
}

function stringsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, child]) => [key, ...stringsOf(child)])
}

describe('a payload', () => {
  const anything = fc.oneof(
    fc.jsonValue({ noUnicodeString: false }),
    fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withSparseArray: true,
      withBoxedValues: true,
      withNullPrototype: true,
      withUnicodeString: true,
    }),
    fc.object({ values: [fc.string({ unit: 'binary' }), fc.double(), fc.constant(undefined), fc.constant(-0)] }),
    fc.array(fc.string({ unit: fc.constantFrom('a', '\0', '\ud800', '\udc00', '\\', 'u', '"', '€') })),
  )

  test('that is accepted comes out of JSON as it went in; one that is refused names its path and nothing else', () => {
    const seen = { accepted: 0, refused: 0 }
    fc.assert(
      fc.property(anything, (value) => {
        try {
          const json = text(value)
          seen.accepted += 1
          expect(isDeepStrictEqual(JSON.parse(json), asPromised(value))).toBe(true)
          expect(stringsOf(JSON.parse(json)).filter((part) => part.includes('\0') || !part.isWellFormed())).toEqual([])
        } catch (error) {
          if (!(error instanceof InvalidMessage)) throw error
          seen.refused += 1
          expect(error.path).toMatch(/^payload/)
          expect(error.message).toMatch(/^Cannot publish "order\.placed": payload/)
        }
      }),
      { numRuns: 3_000 },
    )
    expect(seen.accepted).toBeGreaterThan(300)
    expect(seen.refused).toBeGreaterThan(300)
  })

  class Money {
    readonly cents = 4_200
  }
  const cyclic: Record<string, unknown> = { order: { lines: [{}] } }
  ;(cyclic as { order: { lines: object[] } }).order.lines[0] = cyclic
  const getter = {
    get total(): number {
      throw new Error('4111111111111111')
    },
  }

  test.each<[string, unknown, string, RegExp]>([
    ['NaN', { lines: [{ price: 1 }, { price: Number.NaN }] }, 'payload.lines[1].price', /is NaN/],
    ['Infinity', [Number.POSITIVE_INFINITY], 'payload[0]', /is Infinity/],
    ['a BigInt', { cents: 10n }, 'payload.cents', /BigInt/],
    ['undefined in an array', { tags: ['a', undefined] }, 'payload.tags[1]', /turns into null/],
    ['a hole in an array', { tags: Array(3) }, 'payload.tags[0]', /undefined/],
    ['undefined', undefined, 'payload', /is undefined/],
    ['a function', { at: () => 1 }, 'payload.at', /a function/],
    ['a toJSON of its own', { toJSON: () => 1 }, 'payload.toJSON', /a function/],
    ['a symbol', { at: Symbol('x') }, 'payload.at', /a symbol/],
    ['a symbol as a key', { [Symbol('x')]: 1 }, 'payload', /symbol as a key/],
    ['a Date', { at: new Date(0) }, 'payload.at', /an instance of Date/],
    ['a Map', { at: new Map() }, 'payload.at', /an instance of Map/],
    ['an instance', { total: new Money() }, 'payload.total', /an instance of Money/],
    ['a boxed number', { total: Object(1) }, 'payload.total', /an instance of Number/],
    ['a subclass of Array', { at: new (class Rows extends Array {})() }, 'payload.at', /an instance of Rows/],
    ['a Promise', { total: Promise.resolve(1) }, 'payload.total', /await it/],
    ['a Buffer', { file: Buffer.from('x') }, 'payload.file', /pass bytes as body/],
    ['NUL', { note: 'a\0b' }, 'payload.note', /NUL/],
    ['half of a surrogate pair', { note: 'a\ud83d' }, 'payload.note', /surrogate/],
    ['NUL in a name', { 'a\0': 1 }, 'payload["a�"]', /NUL.*in its name/],
    ['a cycle', cyclic, 'payload.order.lines[0]', /cycle/],
    ['a getter that throws', { order: getter }, 'payload.order.total', /cannot be read/],
    ['names that are no identifiers', { 'unit price': { 'a"b': Number.NaN } }, 'payload["unit price"]["a\\"b"]', /NaN/],
  ])('with %s is refused, and the path says where', (_, value, path, reason) => {
    const error = refusal(value)
    expect(error.path).toBe(path)
    expect(error.message).toMatch(reason)
    expect(error.messageType).toBe('order.placed')
    expect(error.code).toBe('INVALID_MESSAGE')
  })

  test('that is refused shows neither its values nor card numbers in its names', () => {
    const { message, path } = refusal({ '4111 1111 1111 1111': { pin: 'secret\0' } })
    expect(message).not.toMatch(/4111|secret/)
    expect(path).toBe('payload["[digits]"].pin')
    expect(refusal(getter).message).not.toMatch(/4111/)
  })

  test('may hold the letters \\u, and control characters that JSON escapes', () => {
    for (const value of [{ path: 'C:\\users\\u0000' }, { bell: '\u0007\n\u001f' }, { emoji: '🧾', line: '\u2028' }]) {
      expect(JSON.parse(text(value))).toEqual(value)
    }
  })

  test('may come from another realm, and may have no prototype', async () => {
    const { runInNewContext } = await import('node:vm')
    expect(text(runInNewContext('({ a: [1, { b: 2 }] })'))).toBe('{"a":[1,{"b":2}]}')
    expect(text(Object.assign(Object.create(null), { a: 1 }))).toBe('{"a":1}')
  })

  test('keeps a property named __proto__ as data', () => {
    const json = '{"__proto__":{"admin":true},"constructor":1}'
    expect(text(JSON.parse(json))).toBe(json)
    expect(refusal(JSON.parse('{"__proto__":{"a":"\\u0000"}}')).path).toBe('payload.__proto__.a')
  })

  const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])

  test('is nested 64 deep at most', () => {
    expect(text(nested(64))).toContain('1')
    expect(refusal(nested(65)).message).toMatch(/payload is nested deeper than 64 levels/)
    expect(refusal(nested(5_000)).message).toMatch(/deeper/)
  })

  test('is as large as allowed, in bytes', () => {
    expect(text('é'.repeat(10), 22)).toHaveLength(12)
    expect(refusal('é'.repeat(10), 21).message).toMatch(/payload has 22 bytes of JSON, the limit is 21/)
    expect(refusal({ a: 'x'.repeat(1_048_577) }).message).toMatch(/payload\.a is longer than 1048576 bytes/)
  })

  test('that shares its parts a billion times is refused before it is written', () => {
    let shared: unknown = [1]
    for (let level = 0; level < 40; level += 1) shared = [shared, shared]
    expect(refusal(shared, 10_000).message).toMatch(/larger than 10000 bytes/)
  })
})
