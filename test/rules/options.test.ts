import { describe, expect, test } from 'vitest'
import { InvalidOption, UnknownOption } from '../../src/errors.ts'
import { nearest } from '../../src/rules/nearest.ts'
import { milliseconds, parseOptions, passedThrough, shape } from '../../src/rules/options.ts'

const OPTIONS = shape((z) =>
  z.strictObject({
    pollIntervalMs: milliseconds(10).default(1_000),
    database: passedThrough<object>(),
    relay: z.strictObject({ chunk: z.int().default(1_000) }).default({ chunk: 1_000 }),
    secret: z.string().max(3).optional(),
  }),
)
const database = new (class Pool {})()

describe('options', () => {
  test('have their defaults filled in, and what is yours stays yours', () => {
    const options = parseOptions(OPTIONS, { database })
    expect(options).toMatchObject({ pollIntervalMs: 1_000, relay: { chunk: 1_000 } })
    expect(options.database).toBe(database)
  })

  test('that nobody reads are refused, with the one that was meant', () => {
    expect(() => parseOptions(OPTIONS, { database, pollMs: 5 })).toThrow(
      new UnknownOption('pollMs', ['pollIntervalMs']).message,
    )
    expect(() => parseOptions(OPTIONS, { database, pollMs: 5 })).toThrow(
      'Unknown option "pollMs": did you mean "pollIntervalMs"?',
    )
    expect(() => parseOptions(OPTIONS, { database, relay: { chunks: 1 } })).toThrow('did you mean "relay.chunk"?')
    expect(() => parseOptions(OPTIONS, { database, colour: 1 })).toThrow(
      'Unknown option "colour": known are pollIntervalMs,',
    )
  })

  test('out of range are named, and not quoted', () => {
    const parse = () => parseOptions(OPTIONS, { database, secret: 'hunter2' })
    expect(parse).toThrow(InvalidOption)
    expect(parse).toThrow(/^Cannot use option "secret": too big/)
    expect(parse).not.toThrow(/hunter2/)
    expect(() => parseOptions(OPTIONS, { database, pollIntervalMs: 1 })).toThrow(/"pollIntervalMs"/)
    expect(() => parseOptions(OPTIONS, undefined)).toThrow(/"options"/)
  })
})

test.each([
  ['pollMs', 'pollIntervalMs'],
  ['biling', 'billing'],
  ['bililng', 'billing'],
  ['Billing', 'billing'],
  ['poll_interval_ms', 'pollIntervalMs'],
  ['audti', 'audit'],
  ['xyz', undefined],
  ['', undefined],
])('nearest to %j is %j', (word, expected) => {
  expect(nearest(word, ['audit', 'billing', 'pollIntervalMs', 'retry'])).toBe(expected)
})
