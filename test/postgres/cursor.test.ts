import { expect, test } from 'vitest'
import { bench } from './bench.ts'
import { farCursor, naiveCursor } from './steps.ts'
import { reckon, storm } from './storm.ts'

const NOTHING_WRONG = { lost: [], phantoms: [], repeated: 0, disordered: [] }

test('everything that 40 writers commit is routed once, and nothing that they roll back', async () => {
  const b = await bench({ alone: true })
  const committed = await storm(b, { seed: 1, writers: 40, durationMs: 3_000 })
  await b.drain()
  expect(await reckon(b, committed)).toEqual(NOTHING_WRONG)
  expect(committed.size).toBeGreaterThan(500)
  await b.audit()
})

test('also when every backlog counts as a large one', async () => {
  const b = await bench({ alone: true })
  await farCursor(b.pool)
  const committed = await storm(b, { seed: 2, writers: 20, durationMs: 1_500 })
  await b.drain(3)
  expect(await reckon(b, committed)).toEqual(NOTHING_WRONG)
  await b.audit()
})

test('a cursor that remembers the last id loses messages in the same storm', async () => {
  const b = await bench({ alone: true })
  await naiveCursor(b.pool)
  const committed = await storm(b, { seed: 1, writers: 40, durationMs: 1_500 })
  await b.drain()
  expect((await reckon(b, committed)).lost.length).toBeGreaterThan(0)
})
