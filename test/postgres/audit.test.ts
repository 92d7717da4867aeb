import type pg from 'pg'
import { expect, test } from 'vitest'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'

const topology = defineTopology({
  exchanges: { orders: 'topic', news: 'fanout' },
  queues: {
    billing: { from: [{ exchange: 'orders', routingKey: 'order.#' }] },
    mail: { from: [{ exchange: 'orders', routingKey: 'order.placed' }, { exchange: 'news' }] },
  },
})

async function bench() {
  const database = await createDatabase()
  const posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
  await posthaste.declare()
  const publish = (routingKey: string, count = 1, exchange = 'orders', options = {}) =>
    pgDatabase(database.pool).transaction((tx) =>
      posthaste.publish(
        tx,
        Array.from({ length: count }, (_, n) => ({ type: 'order', exchange, routingKey, payload: { n }, ...options })),
      ),
    )
  const route = () => database.pool.query('select * from posthaste.relay_cycle(50, true)')
  return { ...database, posthaste, publish, route, [Symbol.asyncDispose]: database.drop }
}

type Bench = Awaited<ReturnType<typeof bench>>

test('accounts for every message, wherever it is', async () => {
  await using db = await bench()
  const { pool, posthaste, publish, route } = db
  await publish('order.placed', 8)
  await publish('order.shipped', 2)
  await publish('nobody.cares', 3)
  await route()
  await publish('order.placed', 4)
  await publish('order.placed', 1, 'orders', { delayMs: 60_000 })
  const { rows } = await pool.query(`select * from posthaste.receive('billing', 5)`)
  const [a, b, c] = rows
  await pool.query('select posthaste.complete($1, $2, $3)', [a.lease_id, a.token, a.position])
  await pool.query(`select posthaste.retry($1, $2, $3, '1 hour')`, [b.lease_id, b.token, b.position])
  await pool.query(`select posthaste.dead_letter($1, $2, $3, 'no')`, [c.lease_id, c.token, c.position])

  const audit = await posthaste.audit()
  const none = { expired: 0, discarded: 0, purged: 0, redriven: 0, difference: 0 }
  expect(audit).toEqual({
    queues: [
      { queue: 'billing', routed: 10, ready: 5, scheduled: 1, leased: 2, completed: 1, dead: 1, retried: 1, ...none },
      { queue: 'mail', routed: 8, ready: 8, scheduled: 0, leased: 0, completed: 0, dead: 0, retried: 0, ...none },
    ],
    exchanges: [
      { exchange: '', published: 0, routed: 0, unmatched: 0, unrouted: 0, difference: 0 },
      { exchange: 'news', published: 0, routed: 0, unmatched: 0, unrouted: 0, difference: 0 },
      { exchange: 'orders', published: 18, routed: 10, unmatched: 3, unrouted: 5, difference: 0 },
    ],
    difference: 0,
  })
})

test('has difference 0 in every snapshot while everything moves', { timeout: 120_000 }, async () => {
  await using db = await bench()
  const { pool, posthaste } = db
  const random = seeded(20_261_122)
  let busy = true
  const until = async (work: () => Promise<unknown>) => {
    while (busy) await work()
  }
  const keys = ['order.placed', 'order.shipped', 'nobody.cares']
  const movers = [
    ...[1, 2, 3].map(() => until(() => publishSome(db, random, keys))),
    until(db.route),
    until(db.route),
    ...['billing', 'mail'].map((queue) => until(() => consumeSome(pool, random, queue))),
    until(() => pool.query('select posthaste.recover_leases(100)')),
    until(() => pool.query('select posthaste.fold_tally()')),
    until(() => pool.query('select posthaste.trim_logs()')),
    until(async () => {
      const ids = (await posthaste.deadLetters.list({ limit: 20 })).map(({ id }) => id)
      if (random() < 0.5) await posthaste.deadLetters.redrive(ids)
      else await posthaste.deadLetters.purge(ids)
    }),
  ]
  const samples: Sample[] = []
  try {
    while (samples.length < 40) samples.push(await sample(pool))
  } finally {
    busy = false
    await Promise.all(movers)
  }

  expect(samples.filter(({ difference }) => difference !== 0)).toEqual([])
  expect(samples.filter(({ first, second }) => first !== second)).toEqual([])
  const { queues, difference } = await posthaste.audit()
  expect(difference).toBe(0)
  for (const account of queues) {
    expect(account.completed).toBeGreaterThan(0)
    expect(account.retried).toBeGreaterThan(0)
    expect(account.redriven + account.purged).toBeGreaterThan(0)
    const { depth, ready, dead } = await posthaste.queue(account.queue as 'billing').status()
    expect({ depth, ready, dead }).toEqual({
      depth: account.ready + account.scheduled + account.leased,
      ready: account.ready,
      dead: account.dead,
    })
  }
})

test.each([
  [
    'a ready delivery',
    'delete from posthaste.ready where ctid = any (array(select ctid from posthaste.ready limit 1))',
  ],
  ['a dead letter', 'delete from posthaste.dead_letters'],
  ['a message of the log', 'delete from posthaste.outbox where id = 1'],
])('shows by a difference of 1 that %s was deleted behind its back', async (_, deed) => {
  await using db = await bench()
  await db.publish('order.shipped', 3)
  await db.route()
  await db.pool.query(
    `select posthaste.dead_letter(lease_id, token, position, 'no') from posthaste.receive('billing', 1)`,
  )
  expect(await db.posthaste.audit()).toMatchObject({ difference: 0 })
  await db.pool.query(deed)
  expect(await db.posthaste.audit()).toMatchObject({ difference: 1 })
})

test('lets no loss be made up for by a duplicate elsewhere', async () => {
  await using db = await bench()
  await db.publish('order.placed')
  await db.route()
  await db.pool.query(`
    update posthaste.ready set queue = (select id from posthaste.queues where name = 'mail')
    where queue = (select id from posthaste.queues where name = 'billing')`)
  const { queues, difference } = await db.posthaste.audit()
  expect(queues.map((account) => account.difference)).toEqual([1, -1])
  expect(difference).toBe(2)
})

test('a queue’s depth is read from the counts, not by counting', async () => {
  await using db = await bench()
  await db.publish('order.placed', 20)
  await db.route()
  await db.pool.query('truncate posthaste.ready')
  expect(await db.posthaste.queue('billing').status()).toMatchObject({ depth: 20, ready: 20 })
})

interface Sample {
  readonly difference: number
  readonly first: string
  readonly second: string
}

/** Two audits of one REPEATABLE READ snapshot, which must say the same. */
async function sample(pool: pg.Pool): Promise<Sample> {
  const client = await pool.connect()
  try {
    await client.query('begin isolation level repeatable read')
    const first = await client.query('select * from posthaste.audit()')
    const second = await client.query('select * from posthaste.audit()')
    await client.query('commit')
    return {
      difference: first.rows.reduce((sum, row) => sum + Math.abs(Number(row.difference)), 0),
      first: JSON.stringify(first.rows),
      second: JSON.stringify(second.rows),
    }
  } finally {
    client.release()
  }
}

async function publishSome(db: Bench, random: () => number, keys: readonly string[]): Promise<void> {
  const key = keys[Math.floor(random() * keys.length)]!
  const options = random() < 0.2 ? { delayMs: Math.floor(random() * 100) } : {}
  const client = await db.pool.connect()
  try {
    await client.query('begin')
    await db.posthaste.publish(
      client,
      Array.from({ length: 1 + Math.floor(random() * 5) }, () => ({
        type: 'order',
        exchange: random() < 0.8 ? 'orders' : 'news',
        routingKey: key,
        payload: {},
        ...options,
      })),
    )
    await client.query(random() < 0.2 ? 'rollback' : 'commit')
  } finally {
    client.release()
  }
}

async function consumeSome(pool: pg.Pool, random: () => number, queue: string): Promise<void> {
  const { rows } = await pool.query(`select * from posthaste.receive($1, 10, $2)`, [
    queue,
    random() < 0.2 ? '1 millisecond' : '1 minute',
  ])
  for (const { lease_id, token, position } of rows) {
    const end = ['complete($1, $2, $3)', `retry($1, $2, $3, '10 ms')`, `dead_letter($1, $2, $3, 'no')`]
    const pick = random() < 0.6 ? 0 : random() < 0.5 ? 1 : 2
    // A lease that lapsed settles nothing, which is what the audit is to see.
    await pool.query(`select posthaste.${end[pick]}`, [lease_id, token, position]).catch((error) => {
      if (error.code !== 'PH004') throw error
    })
  }
}
