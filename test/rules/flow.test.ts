import { describe, expect, test } from 'vitest'
import { InvalidOption, InvalidTopology, UnknownOption } from '../../src/errors.ts'
import { defineTopology, type QueueDefinition } from '../../src/rules/topology.ts'

const declared = (queue: QueueDefinition<never>) => defineTopology({ queues: { q: queue } }).queues[0]!
const refusal = (queue: object) => {
  try {
    declared(queue as QueueDefinition<never>)
  } catch (error) {
    return error as Error
  }
  throw new Error('it was not refused')
}

test('a queue of which nothing is said is plain', () => {
  expect(declared({}).flow).toBe(undefined)
})

test('what is said is kept, and nothing else', () => {
  expect(declared({ ttlMs: 1_000, expired: 'dead-letter' }).flow).toEqual({ ttlMs: 1_000, expired: 'dead-letter' })
})

describe('bad input is refused, and the error names the field', () => {
  test.each([
    ['ttlMs', { ttlMs: 0 }],
    ['ttlMs', { ttlMs: -1 }],
    ['ttlMs', { ttlMs: 1.5 }],
    ['expired', { expired: 'keep' }],
    ['maxBatchBytes', { maxBatchBytes: 0 }],
    ['maxConcurrency', { maxConcurrency: 0 }],
    ['maxConcurrency', { maxConcurrency: -3 }],
    ['maxConcurrencyPerKey', { maxConcurrencyPerKey: 0 }],
    ['rateLimit', { rateLimit: { messages: 0, perMs: 1_000 } }],
    ['rateLimit', { rateLimit: { messages: 10, perMs: 0 } }],
    ['rateLimit', { rateLimit: { messages: 10 } }],
    ['rateLimit', { rateLimit: 10 }],
    ['fair', { fair: false }],
    ['maxLength', { maxLength: 0 }],
    ['maxBytes', { maxBytes: -1 }],
    ['overflow', { maxLength: 5, overflow: 'drop' }],
    ['breaker', { breaker: { failures: 0 } }],
    ['breaker', { breaker: {} }],
    ['breaker', { breaker: { failures: 3, openMs: 1 } }],
    ['fair', { fair: { weights: { gold: 0 } } }],
  ])('%s: %j', (field, queue) => {
    const error = refusal(queue)
    expect(error).toBeInstanceOf(InvalidOption)
    expect(error.message).toContain(field)
  })

  test('an unknown field, with the nearest that exists', () => {
    const error = refusal({ ttlMS: 5 })
    expect(error).toBeInstanceOf(UnknownOption)
    expect(error.message).toContain('ttlMs')
  })

  test.each<[string, object]>([
    ['maxConcurrencyPerKey 5 is more than maxConcurrency 3', { maxConcurrency: 3, maxConcurrencyPerKey: 5 }],
    ['fair.weights names no key', { fair: { weights: {} } }],
    ['has neither', { overflow: 'drop-head' }],
    [
      'breaker.maxOpenMs 200 is less than breaker.openMs 500',
      { breaker: { failures: 3, openMs: 500, maxOpenMs: 200 } },
    ],
    ['ttlMs is for standard queues', { kind: 'stream', ttlMs: 1_000 }],
  ])('contradictions: %s', (words, queue) => {
    const error = refusal(queue)
    expect(error).toBeInstanceOf(InvalidTopology)
    expect(error.message).toContain(words)
  })
})
