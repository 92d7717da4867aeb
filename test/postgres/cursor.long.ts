import { expect, test } from 'vitest'
import { bench } from './bench.ts'
import { farCursor } from './steps.ts'
import { reckon, storm } from './storm.ts'

const NOTHING_WRONG = { lost: [], phantoms: [], repeated: 0, disordered: [] }

test.each([11, 12, 13])('a minute of 40 writers with bulks of thousands, seed %i', async (seed) => {
  const b = await bench({ alone: true })
  if (seed === 12) await farCursor(b.pool)
  const committed = await storm(b, { seed, writers: 40, durationMs: 60_000, bulk: 5_000, relays: 3 })
  await b.drain()
  expect(await reckon(b, committed)).toEqual(NOTHING_WRONG)
  await b.audit()
})
