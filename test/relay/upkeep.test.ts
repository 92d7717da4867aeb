import { expect, test } from 'vitest'
import { UPKEEP_STEPS } from '../../src/relay/upkeep.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { declareQueue, processOn, publish } from './bench.ts'

test('the relay on duty does every step of upkeep, one at a time', async () => {
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

test('a relay that stands by leaves upkeep to the one on duty', async () => {
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
  const { start, story, events } = processOn(db.url, { relay: { upkeepRoundMs: 300 } })
  await start()
  await events.until('relay-on-duty')

  const open = await db.pool.connect()
  await open.query('begin')
  await publish(open)
  // The next id lies in the last partition but one, so that new ones are due.
  await db.pool.query(`select setval('posthaste.outbox_id', 300000)`)
  const took: number[] = []
  const end = performance.now() + 6_000
  while (performance.now() < end) {
    const startedAt = performance.now()
    await publish(db.pool)
    took.push(performance.now() - startedAt)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const tries = story.filter(
    ({ name, event }) => name === 'upkeep' && (event as { step: string }).step === 'make-partitions',
  )
  took.sort((a, b) => a - b)
  const p99 = took[Math.floor(took.length * 0.99)]!
  console.info(
    `${took.length} publishes beside ${tries.length} tries, p99 ${p99.toFixed(1)} ms, longest ${took.at(-1)!.toFixed(1)} ms`,
  )
  expect(tries.length).toBeGreaterThan(5)
  expect(p99).toBeLessThan(100)
  expect(story.filter(({ name }) => name === 'error')).toEqual([])

  const partitions = async () => (await db.pool.query('select from posthaste.partitions')).rows.length
  const before = await partitions()
  await open.query('commit')
  open.release()
  await until(async () => (await partitions()) > before)
})
