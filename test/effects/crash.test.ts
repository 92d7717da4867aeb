import { expect, test } from 'vitest'
import { crashAt } from './crash.ts'
import { POINTS } from './points.ts'

const KILLS = 2

test('processes that are killed before, in and after every step lose and double nothing (P-5, C-4, C-5, E-1)', {
  timeout: 120_000,
}, async () => {
  const result = await crashAt({ points: POINTS, kills: KILLS, seed: 7, processes: 3 })
  expect(result).toMatchObject({ doubleCharges: 0, doubleEntries: 0, lost: 0, unbooked: 0, unresolved: 0 })
  expect(result.kills).toEqual(Object.fromEntries(POINTS.map((point) => [point, KILLS])))
  expect(result.account).toMatchObject({ unknown: 0, needsReview: 0, overdue: 0, unrecorded: 0, contradicted: 0 })
})
