import { expect, test } from 'vitest'
import { bench } from './bench.ts'
import { bustle } from './bustle.ts'

test.each([1, 2, 3])('the difference is 0 in every snapshot of a minute of everything, seed %i', async (seed) => {
  const b = await bench({ alone: true })
  let over = false
  const work = bustle(b, { seed, durationMs: 60_000, retention: seed > 1 }).finally(() => (over = true))
  while (!over) await b.audit()
  await work
  await b.drain()
  await b.audit()
  const { rows } = await b.pool.query(`select from posthaste.dead_letters where reason = 'LOG_MISSING' or type is null`)
  expect(rows).toEqual([])
})
