import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ContractViolation, NonRetryable } from '../../src/errors.ts'
import { afterFailure, DEFAULT_RETRY, delayAfter, longestRetryMs, type RetryPolicy } from '../../src/rules/retry.ts'

const policies: fc.Arbitrary<RetryPolicy> = fc
  .record({
    maxAttempts: fc.integer({ min: 1, max: 1_000 }),
    minMs: fc.integer({ min: 1, max: 10_000_000 }),
    spreadMs: fc.integer({ min: 0, max: 315_360_000_000 }),
    factor: fc.double({ min: 1, max: 100, noNaN: true }),
    jitter: fc.constantFrom('full' as const, 'none' as const),
    strategy: fc.constantFrom('exponential' as const, 'linear' as const, 'fixed' as const),
  })
  .map(({ spreadMs, ...policy }) => ({ ...policy, maxMs: policy.minMs + spreadMs }))
const random = fc.double({ min: 0, max: 1, noNaN: true }).map((value) => () => value)

describe('the delay after an attempt', () => {
  test('is a whole number within its bounds at any attempt number', () => {
    const attempts = fc.oneof(
      fc.integer({ min: 1, max: 100 }),
      fc.integer(),
      fc.constantFrom(1e9, 2 ** 53, Number.MAX_VALUE),
    )
    fc.assert(
      fc.property(policies, attempts, random, (policy, attempt, next) => {
        const delay = delayAfter(policy, attempt, next)
        expect(Number.isSafeInteger(delay)).toBe(true)
        expect(delay).toBeGreaterThanOrEqual(policy.minMs)
        expect(delay).toBeLessThanOrEqual(policy.maxMs)
      }),
    )
  })

  test('is never shorter for a later attempt, when chance is the same', () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 200 }), random, (policy, attempt, next) => {
        expect(delayAfter(policy, attempt + 1, next)).toBeGreaterThanOrEqual(delayAfter(policy, attempt, next))
      }),
    )
  })

  test('survives policies and chances that never came through the door', () => {
    const hostile = { ...DEFAULT_RETRY, minMs: 0, maxMs: -1, factor: 0 }
    for (const value of [Number.NaN, -1, 2, Number.POSITIVE_INFINITY]) {
      expect(delayAfter(hostile, 5, () => value)).toBe(1)
      expect(delayAfter(DEFAULT_RETRY, Number.NaN, () => value)).toBeGreaterThanOrEqual(1)
      expect(delayAfter(DEFAULT_RETRY, Number.NaN, () => value)).toBeLessThanOrEqual(300_000)
    }
  })

  test('of a fixed policy is always the same, of a linear one grows by the same, of a list is the next', () => {
    const of = (policy: Partial<RetryPolicy>) =>
      [1, 2, 3, 4, 99].map((attempt) => delayAfter({ ...DEFAULT_RETRY, jitter: 'none', ...policy }, attempt))
    expect(of({ strategy: 'fixed', minMs: 500 })).toEqual([500, 500, 500, 500, 500])
    expect(of({ strategy: 'linear', minMs: 500, maxMs: 1_800 })).toEqual([500, 1_000, 1_500, 1_800, 1_800])
    expect(of({ strategy: 'list', delaysMs: [10, 5_000, 70] })).toEqual([10, 5_000, 70, 70, 70])
  })

  test('of a list with jitter lies between its own and the next', () => {
    const policy: RetryPolicy = { ...DEFAULT_RETRY, strategy: 'list', delaysMs: [100, 900], jitter: 'full' }
    expect(delayAfter(policy, 1, () => 0)).toBe(100)
    expect(delayAfter(policy, 1, () => 1)).toBe(900)
    expect(delayAfter(policy, 2, () => 1)).toBe(900)
    expect(longestRetryMs({ ...policy, maxAttempts: 3 })).toBe(1_800)
  })

  test('doubles from one second to five minutes by default', () => {
    const policy = { ...DEFAULT_RETRY, jitter: 'none' as const }
    const delays = [1, 2, 3, 4, 8, 9, 10, 1_000].map((attempt) => delayAfter(policy, attempt))
    expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 128_000, 256_000, 300_000, 300_000])
  })

  test('is spread, so that what failed together is not repeated together', () => {
    const delays = new Set(Array.from({ length: 50 }, () => delayAfter(DEFAULT_RETRY, 1)))
    expect(delays.size).toBeGreaterThan(20)
  })

  test('adds up to no more than the longest retry', () => {
    fc.assert(
      fc.property(policies, random, (policy, next) => {
        let total = 0
        for (let attempt = 1; attempt < policy.maxAttempts; attempt += 1) total += delayAfter(policy, attempt, next)
        expect(total).toBeLessThanOrEqual(longestRetryMs(policy))
      }),
      { numRuns: 30 },
    )
  })
})

describe('after a failure', () => {
  test('maxAttempts: 1 runs once', () => {
    expect(afterFailure({ ...DEFAULT_RETRY, maxAttempts: 1 }, 1)).toEqual({
      kind: 'dead-letter',
      reason: 'max-attempts',
    })
  })

  test('attempts are bounded, whatever they are', () => {
    fc.assert(
      fc.property(policies, (policy) => {
        let attempts = 1
        while (afterFailure(policy, attempts).kind === 'retry') attempts += 1
        expect(attempts).toBe(policy.maxAttempts)
        expect(afterFailure(policy, Number.NaN).kind).toBe('dead-letter')
      }),
      { numRuns: 30 },
    )
  })

  test('an error that no attempt can change ends the delivery', () => {
    const refused = { kind: 'dead-letter', reason: 'non-retryable' }
    expect(afterFailure(DEFAULT_RETRY, 1, { error: new NonRetryable('no such account') })).toEqual(refused)
    expect(afterFailure(DEFAULT_RETRY, 1, { error: new ContractViolation('a', []) })).toEqual(refused)
    expect(afterFailure(DEFAULT_RETRY, 1, { error: new Error('later, perhaps') }).kind).toBe('retry')
    expect(afterFailure(DEFAULT_RETRY, 1, { error: undefined }).kind).toBe('retry')
  })

  test('the handler may choose the delay, and not one attempt more', () => {
    expect(afterFailure(DEFAULT_RETRY, 3, { delayMs: 5 })).toEqual({ kind: 'retry', delayMs: 5 })
    expect(afterFailure(DEFAULT_RETRY, 10, { delayMs: 5 })).toEqual({ kind: 'dead-letter', reason: 'max-attempts' })
  })
})
