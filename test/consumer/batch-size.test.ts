import { expect, test } from 'vitest'
import { BatchSize } from '../../src/consumer/batch-size.ts'

/** A batch whose handlers took so long together, in a transaction that cost so much besides. */
const at = (
  asked: number,
  workMs: number,
  { claimed = asked, overheadMs = 2, attemptsMs = Array<number>(asked).fill(workMs / asked) } = {},
) => ({ asked, claimed, elapsedMs: workMs + overheadMs, attemptsMs })

/** A size that has grown as far as it can. */
function grown(clock = () => 0): BatchSize {
  const size = new BatchSize('auto', { clock })
  for (let n = 0; n < 10; n += 1) size.took(at(size.next, 10))
  return size
}

test('it begins at 1, doubles while full batches are quick, and ends at 50', () => {
  const sizes: number[] = []
  const size = new BatchSize('auto', { changed: (_, to) => sizes.push(to) })
  expect(size.next).toBe(1)
  for (let n = 0; n < 10; n += 1) size.took(at(size.next, 24))
  expect(sizes).toEqual([2, 4, 8, 16, 32, 50])
})

test('it grows to 200 where handlers write little, and falls to 50 where they begin to', () => {
  const size = new BatchSize('auto')
  const sizes = (savepoints: (asked: number) => number, rounds: number) =>
    Array.from({ length: rounds }, () => {
      size.took({ ...at(size.next, 10), savepoints: savepoints(size.next) })
      return size.next
    })
  expect(sizes(() => 0, 9)).toEqual([2, 4, 8, 16, 32, 64, 128, 200, 200])
  expect(sizes((asked) => asked, 2)).toEqual([50, 50])
  expect(sizes(() => 20, 3)).toEqual([100, 200, 200])
  expect(sizes(() => 50, 1)).toEqual([200])
})

test('it halves when a batch was slow, and never goes below 1', () => {
  const size = grown()
  size.took(at(50, 51))
  expect(size.next).toBe(25)
  for (let n = 0; n < 10; n += 1) size.took(at(size.next, 1_000))
  expect(size.next).toBe(1)
})

test('it stays when a batch was neither, was not full, or waited for a lock', () => {
  const size = new BatchSize('auto')
  size.took(at(1, 10))
  for (const taken of [at(2, 30), at(2, 10, { claimed: 1 }), at(2, 20, { attemptsMs: [15, 5] })]) {
    size.took(taken)
    expect(size.next).toBe(2)
  }
})

test('on a machine that is busy with others, handlers may take as long as their transaction costs', () => {
  const size = grown()
  size.took(at(50, 90, { overheadMs: 80 }))
  expect(size.next).toBe(50)
  size.took(at(50, 500, { overheadMs: 5_000 }))
  expect(size.next).toBe(25)
})

test('after a conflict batches are of 1 for a while, and for longer when conflicts come back', () => {
  let now = 0
  const size = grown(() => now)
  const penance = () => {
    const from = now
    size.conflicted()
    expect(size.next).toBe(1)
    size.took(at(1, 10))
    while (size.next === 1) now += 100
    return now - from
  }
  const penances = [penance(), penance(), penance()]
  expect(penances[1]).toBe(penances[0]! * 2)
  expect(penances[2]).toBe(penances[1]! * 2)
  now += 3_600_000
  expect(penance()).toBe(penances[0])
})

test('a fixed size stays, but for the time after a conflict', () => {
  let now = 0
  const size = new BatchSize(20, { clock: () => now })
  size.took(at(20, 1_000))
  expect(size.next).toBe(20)
  size.conflicted()
  expect(size.next).toBe(1)
  now += 3_600_000
  expect(size.next).toBe(20)
})
