import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Backoff } from '../../src/machinery/backoff.ts'
import { Throttle } from '../../src/machinery/throttle.ts'

test('pauses double up to the limit, are never longer, never nothing, and begin anew after a success', () => {
  const backoff = new Backoff({ minMs: 100, maxMs: 1_000 }, () => 1)
  expect([1, 2, 3, 4, 5, 6].map(() => backoff.next())).toEqual([100, 200, 400, 800, 1_000, 1_000])
  for (let i = 0; i < 5_000; i++) expect(backoff.next()).toBe(1_000)
  backoff.reset()
  expect(backoff.next()).toBe(100)
})

test('two processes that fail together do not return together', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
      const pause = new Backoff({ minMs: 100, maxMs: 1_000 }, () => random).next()
      return pause >= 50 && pause <= 100
    }),
  )
  const pauses = new Set(Array.from({ length: 50 }, () => new Backoff({ minMs: 10_000 }).next()))
  expect(pauses.size).toBeGreaterThan(10)
})

test('a cause is let through once a second, another at once', () => {
  const throttle = new Throttle()
  expect([0, 999, 1_000, 1_500, 2_100].map((now) => throttle.allows('down', now))).toEqual([
    true,
    false,
    true,
    false,
    true,
  ])
  expect(throttle.allows('elsewhere', 2_100)).toBe(true)
})
