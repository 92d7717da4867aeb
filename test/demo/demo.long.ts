import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { noLonelyServer } from '../support/database.ts'

describe.skipIf(noLonelyServer)('the demo at 20,000 orders', () => {
  test('loses and doubles nothing, and at least five processes died with work in flight', async () => {
    const { code, stdout, stderr } = await cli(['demo', '--orders', '20000', '--json'])
    expect(code, stderr).toBe(0)
    const { lost, duplicates, phantoms, oversold, auditDifference, kills, intents } = JSON.parse(stdout)
    expect({ lost, duplicates, phantoms, oversold, auditDifference }).toEqual({
      lost: 0,
      duplicates: 0,
      phantoms: 0,
      oversold: 0,
      auditDifference: 0,
    })
    expect(kills.withWorkInFlight).toBeGreaterThanOrEqual(5)
    expect(existsSync(intents)).toBe(false)
  })
})
