import { expect } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { test } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'
import { declareQueue, processOn, publish, readyIds } from './bench.ts'

const NEVER = { relay: { pollIntervalMs: 60_000 } }

test('a delayed message is ready when it is due, not at the next poll', async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const { start, events } = processOn(db.url, NEVER)
  await start()
  await events.until('relay-on-duty')
  const startedAt = performance.now()
  const ids = [await publish(db.pool, { delayMs: 2_000 }), await publish(db.pool, { delayMs: 400 })]
  await until(async () => (await readyIds(db.pool)).has(ids[1]!))
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(400)
  expect(await readyIds(db.pool)).not.toContain(ids[0])
  await until(async () => (await readyIds(db.pool)).has(ids[0]!))
  expect(performance.now() - startedAt).toBeLessThan(20_000)
})

test('what another process has scheduled wakes the relay on duty through any relay', async () => {
  await using db = await createDatabase()
  const queue = await declareQueue(db.pool)
  const [onDuty, standby] = [processOn(db.url, NEVER), processOn(db.url, NEVER)]
  await onDuty.start()
  await onDuty.events.until('relay-on-duty')
  await standby.start()
  await standby.events.until('listening')
  for (const waker of [standby, onDuty]) {
    const promoted = Promise.any([onDuty, standby].map(({ events }) => events.until('promoted')))
    await db.pool.query(
      `insert into posthaste.scheduled (due_at, queue, priority, message, message_id)
       values (clock_timestamp() + interval '100 ms', $1, 9, 1, gen_random_uuid())`,
      [queue],
    )
    waker.relay.wake()
    expect(await promoted).toEqual({ deliveries: 1 })
  }
})

test('what a lapsed lease has not settled comes back', async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const { start, events } = processOn(db.url)
  await start()
  const id = await publish(db.pool)
  await until(async () => (await readyIds(db.pool)).has(id))
  await db.pool.query(`select posthaste.receive('billing', 1, interval '300 ms')`)
  expect(await readyIds(db.pool)).not.toContain(id)
  expect(await events.until('lease-lapsed')).toEqual({ returned: 1, dead: 0 })
  await until(async () => (await readyIds(db.pool)).has(id), { timeoutMs: 1_000 })
})

test('a due delivery or a lapsed lease that somebody holds is not asked for again and again', async () => {
  await using db = await createDatabase()
  const queue = await declareQueue(db.pool)
  const { start, events, database } = countingProcess(db.url)
  await start()
  await events.until('relay-on-duty')
  await publish(db.pool)
  await until(async () => (await readyIds(db.pool)).size === 1)
  await db.pool.query(`select posthaste.receive('billing', 1, interval '1 ms')`)
  await db.pool.query(
    `insert into posthaste.scheduled (due_at, queue, priority, message, message_id)
     values (clock_timestamp() + interval '1 second', $1, 9, 1, gen_random_uuid())`,
    [queue],
  )
  const holder = await db.pool.connect()
  await holder.query('begin')
  await holder.query('select from posthaste.scheduled for update')
  await holder.query('select from posthaste.leases for update')
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  const before = database.statements
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  expect(database.statements - before).toBeLessThan(150)
  await holder.query('rollback')
  holder.release()
  await until(async () => (await readyIds(db.pool)).size === 2)
})

function countingProcess(url: string) {
  const counted = { statements: 0 }
  const one = processOn(url)
  const { query } = one.database
  Object.assign(one.database, {
    query(...statement: Parameters<typeof query>) {
      counted.statements += 1
      return query(...statement)
    },
  })
  return { ...one, database: counted }
}
