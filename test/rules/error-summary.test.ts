import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NonRetryable } from '../../src/errors.ts'
import { isConnectionLoss, isRetryable, isTransient, summarise } from '../../src/rules/error-summary.ts'

const CARD = '4111 1111 1111 1111'
const throwing = () => {
  throw new Error('a trap')
}
const hostile = new Proxy(
  {},
  { get: throwing, has: throwing, getPrototypeOf: throwing, ownKeys: throwing, getOwnPropertyDescriptor: throwing },
)

function cyclic(): Error {
  const error = new Error('round')
  error.cause = error
  return error
}

class Sneaky extends Error {
  override get message(): string {
    throw new Error('a getter')
  }
}

const thrown: [string, unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ['a string', 'boom'],
  ['an empty string', ''],
  ['a number', 42],
  ['a symbol', Symbol('s')],
  ['a BigInt', 10n],
  ['a function', () => {}],
  ['a Proxy whose every trap throws', hostile],
  ['a getter that throws', new Sneaky()],
  ['an error that is its own cause', cyclic()],
  ['an object without a prototype', Object.create(null)],
  ['a message that is no text', Object.assign(new Error(), { message: { toString: throwing }, code: 7, name: null })],
]

describe('a summary', () => {
  test.each(thrown)('of %s does not throw, and says something', (_, error) => {
    const summary = summarise(error)
    expect(summary.name).toMatch(/./)
    expect(summary.message).toMatch(/./)
    expect(() => [isRetryable(error), isTransient(error), isConnectionLoss(error)]).not.toThrow()
  })

  test('of anything at all can be stored: texts without NUL, whole characters, cut', () => {
    const anything = fc.oneof(
      fc.anything({ withBigInt: true, withSparseArray: true, withNullPrototype: true }),
      fc.string({ unit: 'binary', maxLength: 2_000 }).map((message) => new Error(message)),
      fc
        .string({ unit: 'binary' })
        .map((message) => Object.assign(new Error(message), { code: message, table: `${message}\0` })),
    )
    fc.assert(
      fc.property(anything, (error) => {
        const summary = summarise(error)
        expect(summary.message.length).toBeLessThanOrEqual(500)
        for (const text of Object.values(summary)) {
          expect(typeof text).toBe('string')
          expect(text.includes('\0')).toBe(false)
          expect(text.isWellFormed()).toBe(true)
        }
      }),
    )
  })

  test('keeps of a Postgres error what names no values', () => {
    const error = Object.assign(new Error(`duplicate key value violates unique constraint "cards_pkey"`), {
      code: '23505',
      constraint: 'cards_pkey',
      table: 'cards',
      detail: `Key (number)=(${CARD}) already exists.`,
      where: CARD,
      hint: CARD,
      query: `insert into cards values ('${CARD}')`,
      parameters: [CARD],
    })
    expect(summarise(error)).toEqual({
      name: 'Error',
      message: 'duplicate key value violates unique constraint "cards_pkey"',
      code: '23505',
      constraint: 'cards_pkey',
      table: 'cards',
    })
  })

  test.each([
    CARD,
    '4111111111111111',
    '4111-1111-1111-1111',
    '378282246310005',
    '6304000000000000000',
    '４１１１１１１１１１１１１１１１',
    '4111\u00a01111\u00a01111\u00a01111',
  ])('masks %s', (number) => {
    const { message } = summarise(new Error(`invalid input syntax for type integer: "${number}"`))
    expect(message).toBe('invalid input syntax for type integer: "[digits]"')
  })

  test('masks numbers in the code and the names too', () => {
    const summary = summarise({ name: CARD, message: CARD, code: CARD, constraint: CARD, table: CARD })
    expect(JSON.stringify(summary)).not.toMatch(/\d/)
  })

  test('shows no piece of a number where it was cut', () => {
    fc.assert(
      fc.property(
        fc.nat(5_000),
        fc.constantFrom('x', '4111 1111 1111 1111 ', '4 1 1 1 1 1 1 1 1 1 1 1 '),
        (length, filling) => {
          const message = filling.repeat(length).slice(0, length) + CARD + CARD
          expect(summarise(new Error(`x${message}`)).message).not.toMatch(/\d[\s\d]{3}/)
        },
      ),
    )
  })

  test('shows no piece of a number that its own cut left', () => {
    const long = `${'x 4111111111111111'.repeat(222)}xxx${CARD}`
    expect(summarise(new Error(long.slice(0, 3_990) + CARD + CARD)).message).not.toMatch(/\d/)
    const shrinking = `${'4'.repeat(3_990)}x${CARD}`
    expect(summarise(new Error(shrinking)).message).toBe('[digits]x')
  })

  test('cuts no character in two, and mends those that were', () => {
    expect(summarise(new Error(`x${'🧾'.repeat(400)}`)).message.isWellFormed()).toBe(true)
    expect(summarise(new Error('a\ud83d')).message).toBe('a\ufffd')
  })

  test('leaves short numbers and times readable', () => {
    const text = 'order 12345 of 2026-11-22 08:16:12 at 10.0.0.1:5432'
    expect(summarise(new Error(text)).message).toBe(text)
  })

  test('of a refused connection finds the words Node hides', () => {
    const refused = new AggregateError([
      Object.assign(new Error('connect ECONNREFUSED ::1:5432'), { code: 'ECONNREFUSED' }),
    ])
    expect(summarise(refused)).toEqual({
      name: 'AggregateError',
      message: 'connect ECONNREFUSED ::1:5432',
      code: 'ECONNREFUSED',
    })
    expect(isConnectionLoss(refused)).toBe(true)
  })
})

describe('an error of Postgres in the hands of a library', () => {
  const raised = () => Object.assign(new Error('duplicate key value'), { code: '23505', severity: 'ERROR' })
  const said = { message: 'duplicate key value', code: '23505' }

  test.each([
    ['Drizzle', new Error('Failed query: insert …\nparams: 4111111', { cause: raised() })],
    ['Sequelize', Object.assign(new Error('x'), { parent: raised(), parameters: ['4111111'] })],
    ['Prisma', Object.assign(new Error('x'), { code: 'P2010', meta: { driverAdapterError: { cause: raised() } } })],
    ['Knex', Object.assign(raised(), { message: `insert into cards values ('4111111') - duplicate key value` })],
  ])('%s is summarised as Postgres told it, without statement and parameters', (_, error) => {
    expect(summarise(error)).toMatchObject(said)
  })

  test('Bun’s has its SQLSTATE', () => {
    const error = Object.assign(new Error('deadlock'), { code: 'ERR_POSTGRES_SERVER_ERROR', errno: '40P01' })
    expect(isTransient(error)).toBe(true)
  })
})

describe('kinds of errors', () => {
  test.each(['40001', '40P01', '55P03'])('%s is transient, also as a cause', (code) => {
    const error = Object.assign(new Error('deadlock detected'), { code })
    expect(isTransient(error)).toBe(true)
    expect(isTransient(new Error('Failed query', { cause: error }))).toBe(true)
    expect(isTransient(new Error('deadlock detected'))).toBe(false)
  })

  test.each(['57P01', '08006', 'ECONNRESET', 'EPIPE', 'CONNECTION_LOST'])('%s is a lost connection', (code) => {
    expect(isConnectionLoss(Object.assign(new Error('x'), { code }))).toBe(true)
  })

  test('what pg says without a code is a lost connection', () => {
    expect(isConnectionLoss(new Error('Connection terminated unexpectedly'))).toBe(true)
    expect(isConnectionLoss(Object.assign(new Error('x'), { code: '23505' }))).toBe(false)
  })

  test('a thrown NonRetryable ends the delivery, anything else may be tried again', () => {
    expect(isRetryable(new NonRetryable('no'))).toBe(false)
    expect(isRetryable(new Error('no'))).toBe(true)
    expect(isRetryable(undefined)).toBe(true)
  })
})
