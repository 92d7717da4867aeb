import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { defineTopology, Posthaste, pgDatabase, QueueNotEmpty, UnknownQueue } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

/** A process with a queue of its own and no relay: the test routes by hand. */
async function bench() {
  const name = `q_${randomUUID().slice(0, 8)}`
  const topology = defineTopology({
    exchanges: { [`x_${name}`]: 'topic' },
    queues: { [name]: { from: [{ exchange: `x_${name}`, routingKey: '#' }] } },
  })
  const pool = new pg.Pool({ connectionString: db.url, max: 6 })
  const open = () =>
    new Posthaste({ database: pgDatabase(pool), topology: topology as ReturnType<typeof defineTopology> })
  const posthaste = open()
  await posthaste.declare()
  onTestFinished(async () => {
    await posthaste.stop({ timeoutMs: 0 })
    await pool.end()
  })
  const publish = (count: number, options: object = {}) =>
    pgDatabase(pool).transaction(async (tx) => {
      const messages = Array.from({ length: count }, (_, n) => ({
        type: 'job',
        exchange: `x_${name}`,
        payload: { n },
        ...options,
      }))
      return (await posthaste.publish(tx, messages)).map(({ id }) => id)
    })
  const route = () => pool.query('select * from posthaste.relay_cycle(1000, true)')
  const account = async () => (await posthaste.audit()).queues.find((queue) => queue.queue === name)
  return { name, pool, posthaste, open, publish, route, account, queue: posthaste.queue(name) }
}

test('purge deletes what waits, ready and delayed, counts it, and leaves dead letters and what handlers hold', async () => {
  const { name, pool, publish, route, account, queue } = await bench()
  await publish(5)
  await publish(4, { delayMs: 3_600_000 })
  await route()
  await pool.query(`select posthaste.dead_letter(lease_id, token, position, 'no') from posthaste.receive($1, 1)`, [
    name,
  ])
  await pool.query(`select from posthaste.receive($1, 1)`, [name])
  const holder = await pool.connect()
  await holder.query('begin')
  await holder.query(`select from posthaste.claim((select id from posthaste.queues where name = $1), $1, 1, $2)`, [
    name,
    Array(10).fill(0),
  ])

  expect(await queue.purge()).toEqual({ purged: 6 })
  await holder.query('rollback')
  holder.release()
  expect(await account()).toMatchObject({
    routed: 9,
    ready: 1,
    scheduled: 0,
    leased: 1,
    dead: 1,
    purged: 6,
    difference: 0,
  })
  expect(await queue.purge()).toEqual({ purged: 1 })
  expect(await queue.purge()).toEqual({ purged: 0 })
})

test('an empty queue is deleted with its bindings; one that has anything is refused and unchanged', async () => {
  const { name, pool, posthaste, publish, route, account, queue } = await bench()
  await publish(2)
  await route()
  await expect(queue.delete()).rejects.toThrow(QueueNotEmpty)
  await expect(queue.delete()).rejects.toThrow(`Cannot delete "${name}": it has 2 deliveries and 0 dead letters`)
  expect(await account()).toMatchObject({ ready: 2, difference: 0 })
  expect((await queue.status()).paused).toBe(null)

  await queue.purge()
  expect(await queue.delete()).toEqual({ purged: 0 })
  await expect(queue.status()).rejects.toThrow(UnknownQueue)
  expect((await posthaste.topology()).bindings.filter((binding) => binding.queue === name)).toEqual([])
  await publish(1)
  await route()
  const { rows } = await pool.query(`select unmatched, difference from posthaste.audit() where name = $1`, [
    `x_${name}`,
  ])
  expect(rows).toEqual([{ unmatched: '1', difference: '0' }])
})

test('forced, ready, delayed, leased and dead go with the queue, and declared again its account is in balance', async () => {
  const { name, pool, publish, route, account, queue, open } = await bench()
  await publish(10)
  await publish(3, { delayMs: 3_600_000 })
  await route()
  const { rows } = await pool.query(`select lease_id, token, position from posthaste.receive($1, 4)`, [name])
  await pool.query('select posthaste.complete($1, $2, $3)', [rows[0].lease_id, rows[0].token, rows[0].position])
  await pool.query(`select posthaste.dead_letter($1, $2, $3, 'no')`, [
    rows[1].lease_id,
    rows[1].token,
    rows[1].position,
  ])

  expect(await queue.delete({ force: true })).toEqual({ purged: 11 })
  const left = await pool.query(
    `select (select count(*) from posthaste.leases l where not exists (select from posthaste.queues where id = l.queue))
          + (select count(*) from posthaste.settled s where not exists (select from posthaste.leases where id = s.lease)) as n`,
  )
  expect(left.rows).toEqual([{ n: '0' }])
  await expect(
    pool.query('select posthaste.complete($1, $2, $3)', [rows[2].lease_id, rows[2].token, rows[2].position]),
  ).rejects.toThrow('its lease has lapsed, is not yours')

  await open().declare()
  expect(await account()).toMatchObject({ routed: 13, completed: 1, dead: 0, purged: 12, difference: 0 })
})

test('deletion waits for the transaction that holds a delivery, and what it did counts', async () => {
  const { name, pool, publish, route, account, queue, open } = await bench()
  await publish(3)
  await route()
  const holder = await pool.connect()
  const number = (await pool.query('select id from posthaste.queues where name = $1', [name])).rows[0].id
  await holder.query('begin')
  await holder.query('select from posthaste.claim($1, $2, 1, $3)', [number, name, Array(10).fill(0)])
  await expect(queue.delete({ force: true, timeoutMs: 100 })).rejects.toThrow('handlers still hold deliveries of it')

  const deleted = queue.delete({ force: true })
  await until(async () => (await queue.status()).paused?.reason === 'it is being deleted')
  await holder.query('select posthaste.settle($1, $2, 1)', [number, name])
  await holder.query('commit')
  holder.release()
  expect(await deleted).toEqual({ purged: 0 })
  await open().declare()
  expect(await account()).toMatchObject({ routed: 3, completed: 1, purged: 2, difference: 0 })
})

test('a consumer of a deleted queue rests, and says why', async () => {
  const { name, posthaste, queue } = await bench()
  posthaste.consumer(name).otherwise(() => {})
  const gone = posthaste.until('paused')
  await posthaste.start({ relay: false })
  await queue.delete()
  expect(await gone).toMatchObject({ queue: name, source: 'deletion' })
})

test('a delayed delivery is cancelled once, also right after it was published; what is due is not', async () => {
  const { publish, route, account, queue, posthaste } = await bench()
  const [delayed] = await publish(1, { delayMs: 3_600_000 })
  const [due] = await publish(1)
  const cancelled = queue.cancel(delayed!)
  await route()
  expect(await cancelled).toBe(true)
  expect(await queue.cancel(delayed!)).toBe(false)
  expect(await queue.cancel(due!)).toBe(false)
  await expect(queue.cancel('nonsense')).rejects.toThrow('Cannot use option')
  expect(await account()).toMatchObject({ routed: 2, ready: 1, scheduled: 0, discarded: 1, difference: 0 })
  expect(posthaste).toBeDefined()
})

test('a cancellation in a transaction that rolls back never happened', async () => {
  const { pool, posthaste, publish, route, account } = await bench()
  const ids = await publish(2, { delayMs: 3_600_000 })
  await route()
  const client = await pool.connect()
  await client.query('begin')
  expect(await posthaste.cancel(client, ids)).toEqual({ cancelled: 2 })
  await client.query('rollback')
  expect(await account()).toMatchObject({ scheduled: 2, discarded: 0, difference: 0 })
  await client.query('begin')
  expect(await posthaste.cancel(client, ids[0]!)).toEqual({ cancelled: 1 })
  await client.query('commit')
  client.release()
  expect(await account()).toMatchObject({ scheduled: 1, discarded: 1, difference: 0 })
  await expect(posthaste.cancel(pool as never, ids[1]!)).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
})
