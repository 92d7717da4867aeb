import type pg from 'pg'
import { expect, test } from 'vitest'
import { UPKEEP_STEPS } from '../../src/relay/upkeep.ts'
import { createDatabase } from '../support/database.ts'
import { test as sideBySide } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'
import { declareQueue, processOn, publish } from './bench.ts'

sideBySide('the relay on duty does every step of upkeep, one at a time', async () => {
  await using db = await createDatabase()
  const { start, story } = processOn(db.url, { relay: { upkeepRoundMs: 500 } })
  await start()
  await until(() => story.filter(({ name }) => name === 'upkeep').length > 2 * UPKEEP_STEPS.length)
  const steps = story.flatMap(({ name, event }) => (name === 'upkeep' ? [(event as { step: string }).step] : []))
  const round = UPKEEP_STEPS.length
  expect(steps.slice(0, round)).toEqual(UPKEEP_STEPS)
  expect(steps.slice(round, 2 * round)).toEqual(UPKEEP_STEPS)
  expect(story.filter(({ name }) => name === 'error')).toEqual([])
})

sideBySide('a relay that stands by leaves upkeep to the one on duty', async () => {
  await using db = await createDatabase()
  const first = processOn(db.url, { relay: { upkeepRoundMs: 500 } })
  await first.start()
  await first.events.until('relay-on-duty')
  const second = processOn(db.url, { relay: { upkeepRoundMs: 500 } })
  await second.start()
  const before = first.times('upkeep')
  await until(() => first.times('upkeep') >= before + 20)
  expect(second.times('upkeep')).toBeLessThan(6)
})

test('upkeep beside an open publisher delays no other, and is made up for when that one has ended', {
  timeout: 60_000,
}, async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const undisturbed = await publishing(db.pool, 1_000)
  const { start, story, events } = processOn(db.url, { relay: { upkeepRoundMs: 300 } })
  await start()
  await events.until('relay-on-duty')

  const open = await db.pool.connect()
  await open.query('begin')
  await publish(open)
  // The next id lies in the last partition but one, so that new ones are due.
  await db.pool.query(`select setval('posthaste.outbox_id', 300000)`)
  const took = await publishing(db.pool, 4_000)
  const tries = story.filter(
    ({ name, event }) => name === 'upkeep' && (event as { step: string }).step === 'make-partitions',
  )
  console.info(
    `${took.length} publishes beside ${tries.length} tries, p99 ${p99(took).toFixed(1)} ms (undisturbed ${p99(undisturbed).toFixed(1)}), longest ${took.at(-1)!.toFixed(1)} ms`,
  )
  expect(tries.length).toBeGreaterThan(5)
  // on a machine that does something else, a publisher is slow with nothing beside it
  expect(p99(took)).toBeLessThan(Math.max(100, 4 * p99(undisturbed)))
  expect(story.filter(({ name }) => name === 'error')).toEqual([])

  const partitions = async () => (await db.pool.query('select from posthaste.partitions')).rows.length
  const before = await partitions()
  await open.query('commit')
  open.release()
  await until(async () => (await partitions()) > before)
})

/** How long each of one publisher's messages took, ascending. */
async function publishing(pool: pg.Pool, forMs: number): Promise<number[]> {
  const took: number[] = []
  const end = performance.now() + forMs
  while (performance.now() < end) {
    const startedAt = performance.now()
    await publish(pool)
    took.push(performance.now() - startedAt)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return took.toSorted((a, b) => a - b)
}

function p99(ascending: readonly number[]): number {
  return ascending[Math.floor(ascending.length * 0.99)]!
}
