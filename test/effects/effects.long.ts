import { describe, expect, test } from 'vitest'
import { crashAt } from './crash.ts'
import { POINTS } from './points.ts'

const KILLS = Number(process.env.KILLS ?? 100)

describe(`${KILLS} processes killed at each point lose and double nothing`, () => {
  test.each(POINTS)('%s', async (point) => {
    const startedAt = performance.now()
    const result = await crashAt({ points: [point], kills: KILLS, seed: 20261122, processes: 6 })
    console.log(point, JSON.stringify(result), `${Math.round((performance.now() - startedAt) / 1_000)} s`)
    expect(result).toMatchObject({ doubleCharges: 0, doubleEntries: 0, lost: 0, unbooked: 0 })
    expect(result.kills).toEqual({ [point]: KILLS })
    expect(result.account).toMatchObject({ overdue: 0, unrecorded: 0, contradicted: 0 })
    // every unknown is resolved or listed
    const { unknown, needsReview } = result.account
    expect(unknown + needsReview).toBe(result.unresolved)
  })
})
