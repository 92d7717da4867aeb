import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { defineTopology, Posthaste, pgDatabase, type RawMessage } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const DAY_MS = 86_400_000

const topology = defineTopology({ exchanges: { orders: 'fanout' }, queues: { billing: {}, mail: {} } })

let database: TestDatabase
let posthaste: ReturnType<typeof posthasteOn>

function posthasteOn({ pool }: TestDatabase) {
  return new Posthaste({ database: pgDatabase(pool), topology, relay: { pollIntervalMs: 60_000 } })
}

beforeAll(async () => {
  database = await createDatabase()
  posthaste = posthasteOn(database)
  await posthaste.declare()
})
afterAll(() => database.drop())

beforeEach(async () => {
  const { pool } = database
  await pool.query('select * from posthaste.relay_cycle(1000, true)')
  for (const queue of ['billing', 'mail']) {
    await posthaste.queue(queue as 'billing').deadLetters.purge({})
    await pool.query('select posthaste.complete(lease_id, token, position) from posthaste.receive($1, 1000)', [queue])
  }
})

/** Publishes, routes, and lets an attempt end badly, as a consumer in SQL would. Returns the ids of the dead letters. */
async function die(messages: readonly RawMessage[], { queue = 'billing', reason = 'no such account' } = {}) {
  const { pool } = database
  await pgDatabase(pool).transaction((tx) => posthaste.publish(tx, messages))
  await pool.query('select * from posthaste.relay_cycle(1000, true)')
  const before = await topId()
  await pool.query('select posthaste.dead_letter(lease_id, token, position, $2) from posthaste.receive($1, 1000)', [
    queue,
    reason,
  ])
  const { rows } = await pool.query('select id from posthaste.dead_letters where id > $1 order by id', [before])
  return rows.map(({ id }) => id as string)
}

async function topId(): Promise<string> {
  const { rows } = await database.pool.query('select coalesce(max(id), 0) as id from posthaste.dead_letters')
  return rows[0].id
}

async function scheduled(): Promise<pg.QueryResultRow[]> {
  return (await database.pool.query('select * from posthaste.scheduled order by due_at, position')).rows
}

const to = (queue: string, payload: unknown = {}): RawMessage => ({ type: queue, payload })

describe('redrive', () => {
  test('puts a dead letter back as if never attempted, and its history tells who did it', async () => {
    const [id] = await die([to('billing', { cents: 5 })])
    const result = await posthaste.deadLetters.redrive(id!, { by: 'ada' })
    expect(result).toEqual({ redriven: 1, missing: [], unreadable: [] })
    expect(await posthaste.deadLetters.list()).toEqual([])

    await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
    const [delivery] = await posthaste.queue('billing').peek()
    expect(delivery).toMatchObject({ attempts: 0, crashes: 0, payload: { cents: 5 } })
    expect(delivery?.errors.at(-1)).toMatchObject({
      attempt: 1,
      message: 'dead-lettered as "no such account", redriven by ada',
    })
    expect(await posthaste.audit()).toMatchObject({ difference: 0 })
  })

  test('keeps the history of every life', async () => {
    const [id] = await die([to('billing')], { reason: 'first' })
    await posthaste.deadLetters.redrive(id!)
    const [second] = await die([], { reason: 'second' })
    await posthaste.deadLetters.redrive(second!)
    const [third] = await die([], { reason: 'third' })
    const letter = await posthaste.deadLetters.show(third!)
    expect(letter?.history.map(({ message }) => message)).toEqual([
      'dead-lettered as "first", redriven by an unknown hand',
      'dead-lettered as "second", redriven by an unknown hand',
    ])
  })

  test('happens once when two ask for it at the same time, one waiting for the other', async () => {
    const [id] = await die([to('billing')])
    const client = await database.pool.connect()
    try {
      await client.query('begin')
      await client.query('select * from posthaste.redrive(array[$1::bigint])', [id])
      const second = posthaste.deadLetters.redrive(id!)
      await until(() => waitingForALock())
      await client.query('commit')
      expect(await second).toEqual({ redriven: 0, missing: [id], unreadable: [] })
    } finally {
      client.release()
    }
    expect(await scheduled()).toHaveLength(1)
  })

  test('is there for another when the first one rolls back', async () => {
    const [id] = await die([to('billing')])
    const client = await database.pool.connect()
    try {
      await client.query('begin')
      await client.query('select * from posthaste.redrive(array[$1::bigint])', [id])
      const second = posthaste.deadLetters.redrive(id!)
      await until(() => waitingForALock())
      await client.query('rollback')
      expect(await second).toMatchObject({ redriven: 1 })
    } finally {
      client.release()
    }
    expect(await scheduled()).toHaveLength(1)
  })

  test('of the same hundred by eight hands gives a hundred deliveries', async () => {
    const ids = await die(Array.from({ length: 100 }, (_, n) => to('billing', { n })))
    const orders = Array.from({ length: 8 }, (_, n) => (n % 2 ? ids : ids.toReversed()))
    const results = await Promise.all(orders.map((order) => posthaste.deadLetters.redrive(order)))
    expect(results.reduce((sum, { redriven }) => sum + redriven, 0)).toBe(100)
    expect(new Set((await scheduled()).map(({ message_id }) => message_id)).size).toBe(100)
    expect(await scheduled()).toHaveLength(100)
  })

  test('by filter takes all that it finds, in the order it died', async () => {
    await die(Array.from({ length: 450 }, (_, n) => to('billing', { n })))
    await die([to('mail')], { queue: 'mail' })
    expect(await posthaste.deadLetters.redrive({ queue: 'billing' })).toMatchObject({ redriven: 450 })
    const messages = (await scheduled()).map(({ message }) => Number(message))
    expect(messages).toHaveLength(450)
    expect(messages).toEqual(messages.toSorted((a, b) => a - b))
    expect((await posthaste.deadLetters.list()).map(({ queue }) => queue)).toEqual(['mail'])
  })

  test('by filter comes to an end when everything dies again at once', async () => {
    await die([to('billing'), to('billing'), to('billing')])
    await database.pool.query(`
      create function die_again() returns trigger language plpgsql as $$
      begin
        insert into posthaste.dead_letters (queue, reason, attempts, crashes, message, message_id, priority, type)
        values (old.queue, old.reason, 1, 0, old.message, old.message_id, old.priority, old.type);
        return null;
      end $$;
      create trigger die_again after delete on posthaste.dead_letters for each row execute function die_again()`)
    const result = await posthaste.deadLetters
      .redrive({})
      .finally(() => database.pool.query('drop function die_again cascade'))
    expect(result).toMatchObject({ redriven: 3 })
    await database.pool.query('delete from posthaste.dead_letters')
  })

  test('to another queue counts as routed there, and both accounts are in balance', async () => {
    const [id] = await die([{ type: 'billing', payload: 'moved' }])
    expect(await posthaste.deadLetters.redrive(id!, { to: 'mail', by: 'ada' })).toMatchObject({ redriven: 1 })
    await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
    const [delivery] = await posthaste.queue('mail').peek()
    expect(delivery).toMatchObject({ payload: 'moved', attempts: 0 })
    expect(delivery!.errors.at(-1)!.message).toContain('redriven by ada from queue "billing"')
    expect((await posthaste.audit()).queues.map(({ difference }) => difference)).toEqual([0, 0])
    expect((await posthaste.queue('billing').status()).dead).toBe(0)
    await expect(posthaste.deadLetters.redrive('1', { to: 'mial' })).rejects.toMatchObject({ code: 'UNKNOWN_QUEUE' })
  })

  test('with another payload keeps the message’s id, and other queues keep what was published', async () => {
    await die([{ type: 'x', exchange: 'orders', payload: { cents: -5 } }])
    await database.pool.query(
      `insert into posthaste.bindings (exchange, queue) select 'orders', id from posthaste.queues`,
    )
    const ids = [
      ...(await die([{ type: 'x', exchange: 'orders', payload: { cents: -5 } }])),
      ...(await die([], { queue: 'mail' })),
    ]
    await database.pool.query('delete from posthaste.bindings')
    const [billed, mailed] = await Promise.all(ids.map((id) => posthaste.deadLetters.show(id)))
    expect(billed!.messageId).toBe(mailed!.messageId)
    await posthaste.deadLetters.redrive(billed!.id, { payload: { cents: 5 }, by: 'ada' })
    await posthaste.deadLetters.redrive(mailed!.id)
    await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
    expect(await posthaste.queue('billing').peek()).toMatchObject([
      { messageId: billed!.messageId, payload: { cents: 5 } },
    ])
    expect(await posthaste.queue('mail').peek()).toMatchObject([
      { messageId: billed!.messageId, payload: { cents: -5 } },
    ])
    await database.pool.query('select posthaste.trim_held()')
    expect(await posthaste.queue('billing').peek()).toMatchObject([{ payload: { cents: 5 } }])
  })

  test('runs, also when its time to live is over; one already processed does not run twice', async () => {
    const [id] = await die([{ type: 'billing', payload: 'late', expiresInMs: 60_000 }])
    const { messageId } = (await posthaste.deadLetters.show(id!))!
    await database.pool.query(
      `update posthaste.outbox set expires_at = clock_timestamp() - interval '1 s' where message_id = $1`,
      [messageId],
    )
    await posthaste.deadLetters.redrive(id!)
    await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
    const [delivery] = await posthaste.queue('billing').receive()
    expect(delivery).toMatchObject({ id: messageId, payload: 'late' })
    await delivery!.deadLetter('again')
    await database.pool.query(`select posthaste.note_processed('billing', array[$1::uuid])`, [messageId])
    await posthaste.deadLetters.redrive({ queue: 'billing' })
    await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
    expect(await posthaste.queue('billing').receive()).toEqual([])
    expect((await posthaste.queue('billing').status()).depth).toBe(0)
  })

  test('that is only tried changes nothing, and answers as the real one would', async () => {
    const [first, second] = await die([
      { type: 'billing', payload: 1 },
      { type: 'billing', payload: 2 },
    ])
    await database.pool.query('update posthaste.dead_letters set type = null, message = -1 where id = $1', [second])
    const dry = await posthaste.deadLetters.redrive([first!, second!, '999999'], { dryRun: true })
    expect(await posthaste.deadLetters.count()).toBe(2)
    expect(await posthaste.deadLetters.redrive([first!, second!, '999999'])).toEqual(dry)
    expect(dry).toEqual({ redriven: 1, missing: ['999999'], unreadable: [second] })
  })

  test('with a payload that Postgres cannot hold, or for many at once, changes nothing', async () => {
    const ids = await die([
      { type: 'billing', payload: 1 },
      { type: 'billing', payload: 2 },
    ])
    const redrive = (which: Parameters<typeof posthaste.deadLetters.redrive>[0], payload: unknown) =>
      posthaste.deadLetters.redrive(which, { payload })
    await expect(redrive(ids, {})).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await expect(redrive({}, {})).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await expect(redrive(ids[0]!, 'a\u0000b')).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
    await expect(redrive(ids[0]!, 'x'.repeat(1_048_577))).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
    expect(await posthaste.deadLetters.count()).toBe(2)
  })

  test('and purge are written down: who, what, when', async () => {
    const [first, second, third] = await die([1, 2, 3].map((payload) => ({ type: 'billing', payload })))
    await posthaste.deadLetters.redrive(first!, { by: 'ada', to: 'mail', payload: { fixed: true } })
    await posthaste.deadLetters.redrive(second!)
    await posthaste.deadLetters.purge(third!, { by: 'bob' })
    expect(await posthaste.journal({ queue: 'billing', limit: 3 })).toMatchObject([
      { by: 'bob', act: 'purge-dead', queue: 'billing', facts: { ids: [Number(third)] }, at: expect.any(Date) },
      { by: null, act: 'redrive', facts: { ids: [Number(second)] } },
      { by: 'ada', act: 'redrive', facts: { ids: [Number(first)], to: 'mail', edited: true } },
    ])
  })

  test('wakes a sleeping relay', async () => {
    const [id] = await die([to('billing')])
    await using awake = posthasteOn(database)
    await awake.start()
    await until(() => relayIsAsleep(), { timeoutMs: 20_000 })
    await posthaste.deadLetters.redrive(id!)
    const ready = async () => (await posthaste.queue('billing').peek()).length > 0
    await until(ready, { timeoutMs: 10_000 })
  })
})

describe('a dead letter whose message the log holds no more', () => {
  test('is redriven from its own copy, byte for byte', async () => {
    const body = Buffer.from([0, 1, 2, 253, 254, 255])
    const message = { type: 'billing', body, contentType: 'image/png', key: 'k', priority: 7, headers: { a: 'é' } }
    const ids = await die([message, to('billing', { exact: '1.10' })])
    await emptyTheLog()
    await posthaste.deadLetters.redrive(ids)
    await database.pool.query('select posthaste.trim_held()')
    await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
    const deliveries = await posthaste.queue('billing').peek()
    expect(deliveries).toMatchObject([
      { body, contentType: 'image/png', key: 'k', priority: 7, headers: { a: 'é' }, routingKey: 'billing' },
      { payload: { exact: '1.10' } },
    ])
  })

  test('stays a dead letter when it has no copy either', async () => {
    const [id] = await die([to('billing')])
    await emptyTheLog()
    await database.pool.query(`update posthaste.dead_letters set type = null, payload = null`)
    expect(await posthaste.deadLetters.redrive(id!)).toEqual({ redriven: 0, missing: [], unreadable: [id] })
    expect(await posthaste.deadLetters.list()).toHaveLength(1)
    expect(await posthaste.audit()).toMatchObject({ queues: [{ difference: 0 }, { difference: 0 }] })
  })

  test('keeps its copy against upkeep that cannot see the redrive yet', async () => {
    const [id] = await die([to('billing', { cents: 5 })])
    await emptyTheLog()
    await database.pool.query(
      `insert into posthaste.held (id, message_id, exchange, routing_key, type, payload)
       select message, message_id, exchange, routing_key, type, payload from posthaste.dead_letters`,
    )
    const client = await database.pool.connect()
    try {
      await client.query('begin')
      await client.query('select * from posthaste.redrive(array[$1::bigint])', [id])
      await database.pool.query('select posthaste.trim_held()')
      await client.query('commit')
    } finally {
      client.release()
    }
    await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
    expect(await posthaste.queue('billing').peek()).toMatchObject([{ payload: { cents: 5 } }])
  })
})

describe('dead letters', () => {
  test('are listed newest first, page by page, by queue, reason, type and time', async () => {
    const old = await die([to('billing'), to('billing')], { reason: 'old' })
    await database.pool.query(`update posthaste.dead_letters set dead_at = dead_at - interval '1 hour'`)
    const fresh = await die([to('mail')], { queue: 'mail', reason: 'fresh' })
    const ids = async (...given: Parameters<typeof posthaste.deadLetters.list>) =>
      (await posthaste.deadLetters.list(...given)).map(({ id }) => id)

    expect(await ids()).toEqual([...fresh, ...old.toReversed()])
    expect(await ids({ limit: 1 })).toEqual(fresh)
    expect(await ids({ limit: 1, before: fresh[0] })).toEqual([old[1]])
    expect(await ids({ queue: 'mail' })).toEqual(fresh)
    expect(await ids({ reason: 'old' })).toEqual(old.toReversed())
    expect(await ids({ type: 'mail' })).toEqual(fresh)
    expect(await ids({ since: new Date(Date.now() - 60_000) })).toEqual(fresh)
    await expect(ids({ queue: 'mial' })).rejects.toMatchObject({ code: 'UNKNOWN_QUEUE' })
  })

  test('are found by a text in reason, key, payload or error, whatever its case, and by when they ended', async () => {
    const [a] = await die([{ type: 'billing', payload: { name: 'Jos\u00e9' } }], { reason: 'Timeout 100%' })
    const [b] = await die([{ type: 'billing', payload: {}, key: 'Customer_7' }])
    const found = async (filter: object) => (await posthaste.deadLetters.list(filter)).map(({ id }) => id)
    expect(await found({ text: 'jos\u00e9' })).toEqual([a])
    expect(await found({ text: 'TIMEOUT 100%' })).toEqual([a])
    expect(await found({ text: 'customer_7' })).toEqual([b])
    expect(await found({ text: 'customer%' })).toEqual([])
    expect(await found({ until: new Date(Date.now() - DAY_MS) })).toEqual([])
    expect(await found({ until: new Date(Date.now() + DAY_MS) })).toEqual([b, a])
    await expect(posthaste.deadLetters.list({ text: '' })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  test('of one queue are out of reach of another', async () => {
    const [id] = await die([to('billing')])
    const { deadLetters } = posthaste.queue('mail')
    expect(await deadLetters.show(id!)).toBeUndefined()
    expect(await deadLetters.redrive(id!)).toEqual({ redriven: 0, missing: [id], unreadable: [] })
    expect(await deadLetters.purge(id!)).toEqual({ purged: 0, missing: [id] })
    expect(await posthaste.deadLetters.list()).toHaveLength(1)
  })

  test('are told of when they are redriven or purged', async () => {
    const ids = await die([to('billing'), to('billing')])
    const redriven = posthaste.until('redriven')
    const purged = posthaste.until('purged')
    await posthaste.deadLetters.redrive(ids[0]!)
    await posthaste.deadLetters.purge(ids[1]!)
    expect(await redriven).toEqual({ queue: 'billing', deliveries: 1 })
    expect(await purged).toEqual({ queue: 'billing', deliveries: 1 })
  })

  test('that are purged or past retention are gone, and accounted for', async () => {
    const ids = await die([to('billing'), to('billing'), to('billing')])
    await posthaste.deadLetters.purge(ids[0]!)
    await database.pool.query(
      `update posthaste.dead_letters set dead_at = dead_at - interval '31 days' where id = $1`,
      [ids[1]],
    )
    const { rows } = await database.pool.query('select posthaste.trim_dead_letters($1) as done', [30 * DAY_MS])
    expect(rows).toEqual([{ done: true }])
    expect((await posthaste.deadLetters.list()).map(({ id }) => id)).toEqual([ids[2]])
    const { queues } = await posthaste.audit()
    expect(queues.map(({ difference }) => difference)).toEqual([0, 0])
    expect(await posthaste.queue('billing').status()).toMatchObject({ depth: 0, dead: 1 })
  })

  test.each(['0', '-1', '1.5', 'x', '', '9223372036854775808'])('have no id %s', async (id) => {
    await expect(posthaste.deadLetters.redrive(id)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })
})

// As retention does, when no delivery names a message any more.
async function emptyTheLog(): Promise<void> {
  await database.pool.query('truncate posthaste.outbox_p1')
}

async function waitingForALock(): Promise<boolean> {
  const { rows } = await database.pool.query(
    `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rows.length > 0
}

async function relayIsAsleep(): Promise<boolean> {
  const { rows } = await database.pool.query(
    `select 1 from pg_locks
     where locktype = 'advisory' and mode = 'ExclusiveLock' and granted
       and database = (select oid from pg_database where datname = current_database())
       and objid::bigint = posthaste.lock_object('sleep')::bigint & 4294967295`,
  )
  return rows.length > 0
}
