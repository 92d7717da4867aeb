import { describe, expect, test } from 'vitest'
import { MANNERS, PLACEMENTS, play } from './placements.ts'
import { farCursor, manyAtOnce, naiveCursor } from './steps.ts'

test('there are 120 placements', () => {
  expect(PLACEMENTS.length).toBe(120)
})

// The long suite plays all of them in every way.
const EVERY_THIRD = PLACEMENTS.filter((_, n) => n % 3 === 0)

describe('a message is routed once, wherever its transaction begins, inserts and ends between the steps of a cycle', () => {
  test('be it plain, in a savepoint, prepared or rolled back', async () => {
    const played = await play(PLACEMENTS, MANNERS)
    expect(played).toEqual({ lost: [], repeated: [], phantoms: [] })
  })

  test('also when what lies between two snapshots is routed one by one', async () => {
    const played = await play(EVERY_THIRD, ['plain', 'prepared'], { chunk: 1 })
    expect(played).toEqual({ lost: [], repeated: [], phantoms: [] })
  })

  test('also when few messages are routed as many are', async () => {
    const played = await play(EVERY_THIRD, ['plain', 'prepared'], { cursor: manyAtOnce })
    expect(played).toEqual({ lost: [], repeated: [], phantoms: [] })
  })

  test('also when every backlog counts as a large one', async () => {
    const played = await play(EVERY_THIRD, ['plain', 'prepared'], { chunk: 2, cursor: farCursor })
    expect(played).toEqual({ lost: [], repeated: [], phantoms: [] })
  })
})

test('a cursor that remembers the last id loses messages in the same places', async () => {
  const after = PLACEMENTS.filter(({ insert, end }) => insert === 'with the turn' && end !== insert)
  const { lost } = await play(after, ['plain'], { cursor: naiveCursor })
  expect(lost.length).toBeGreaterThan(after.length / 2)
})
