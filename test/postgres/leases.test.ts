import type pg from 'pg'
import { describe, expect, test } from 'vitest'
import { extendLease, type Leased, lease, releaseLeased, settleLeased } from '../../src/postgres/leases.ts'
import { recoverLeases } from '../../src/postgres/relay.ts'
import { until } from '../support/until.ts'
import { type Bench, bench, claimOn, codeOf, GROUND, run, settledAs, t, transaction, uuid7, waiting } from './bench.ts'

const HOUR = 3_600_000

function take(b: Bench, limit: number, { leaseMs = HOUR, on = b.pool as pg.Pool | pg.Client } = {}): Promise<Leased[]> {
  return run(on, lease(t, { queue: b.number, consumer: b.queue, limit, leaseMs, floors: GROUND, holder: 'test' }))
}

function finish(
  b: Bench,
  rows: readonly Leased[],
  kind: 'completed' | 'retry' | 'dead',
  { inbox = true, token = rows[0]!.token } = {},
) {
  const outcomes = rows.map(({ delivery }) => settledAs(delivery, { kind, reason: 'because', delayMs: 0 }))
  return run(b.pool, settleLeased(t, { lease: rows[0]!.lease, token, consumer: b.queue, outcomes, inbox }))
}

const recover = (b: Bench) => run(b.pool, recoverLeases(t, { limit: 100 }))

/** Makes a lease lapse now. */
async function lapse(b: Bench, [first]: readonly Leased[]): Promise<void> {
  await b.pool.query(`update posthaste.leases set expires_at = clock_timestamp() - interval '1 ms' where id = $1`, [
    first!.lease,
  ])
}

async function leases(b: Bench): Promise<number> {
  return (await b.pool.query('select from posthaste.leases where queue = $1', [b.number])).rows.length
}

async function filled(n: number, message = {}): Promise<Bench & { published: string[] }> {
  const b = await bench()
  const published = await b.publishMany(b.pool, n, message)
  await b.drain()
  return { ...b, published }
}

describe('a lease', () => {
  test('counts the attempt when it is granted, and says when it ends', async () => {
    const b = await filled(3)
    const rows = await take(b, 2, { leaseMs: 60_000 })
    expect(rows.map(({ delivery }) => [delivery.messageId, delivery.attempts])).toEqual(
      b.published.slice(0, 2).map((id) => [id, 1]),
    )
    const { rows: left } = await b.pool.query(
      'select expires_at - clock_timestamp() < $1::interval as soon from posthaste.leases where id = $2',
      ['61 s', rows[0]!.lease],
    )
    expect(left).toEqual([{ soon: true }])
    expect((await take(b, 10)).map(({ delivery }) => delivery.messageId)).toEqual(b.published.slice(2))
    await b.audit()
  })

  test('settles each delivery once, and is gone with the last', async () => {
    const b = await filled(3)
    const rows = await take(b, 3)
    expect(await finish(b, rows.slice(0, 1), 'completed')).toHaveLength(1)
    await b.audit()
    expect(await finish(b, rows.slice(0, 2), 'completed')).toEqual([{ position: rows[1]!.delivery.position }])
    await b.audit()
    expect(await leases(b)).toBe(1)
    expect(await finish(b, rows, 'completed')).toHaveLength(1)
    expect(await leases(b)).toBe(0)
    expect(await finish(b, rows, 'completed')).toEqual([])
    await b.audit()
  })

  test('takes the first of two outcomes for one delivery', async () => {
    const b = await filled(1)
    const [row] = await take(b, 1)
    const outcomes = [
      settledAs(row!.delivery, { kind: 'completed' }),
      settledAs(row!.delivery, { kind: 'retry', delayMs: 0 }),
    ]
    const held = { lease: row!.lease, token: row!.token, consumer: b.queue }
    expect(await run(b.pool, settleLeased(t, { ...held, outcomes, inbox: true }))).toHaveLength(1)
    expect(await b.ids('scheduled')).toEqual([])
    await b.audit()
  })

  test('with the wrong token settles, renews and releases nothing', async () => {
    const b = await filled(1)
    const rows = await take(b, 1)
    const stranger = { lease: rows[0]!.lease, token: crypto.randomUUID() }
    expect(await finish(b, rows, 'completed', { token: stranger.token })).toEqual([])
    expect(await run(b.pool, extendLease(t, { ...stranger, leaseMs: HOUR }))).toEqual([])
    expect(await run(b.pool, releaseLeased(t, { ...stranger, positions: [rows[0]!.delivery.position] }))).toEqual([])
    expect(await finish(b, rows, 'completed')).toHaveLength(1)
  })

  test('that has lapsed settles, renews and releases nothing, also before it is taken back', async () => {
    const b = await filled(1)
    const rows = await take(b, 1)
    await lapse(b, rows)
    expect(await finish(b, rows, 'completed')).toEqual([])
    expect(await run(b.pool, extendLease(t, { ...rows[0]!, leaseMs: HOUR }))).toEqual([])
    expect(await run(b.pool, releaseLeased(t, { ...rows[0]!, positions: [rows[0]!.delivery.position] }))).toEqual([])
    expect(await recover(b)).toEqual([{ returned: 1, dead: 0 }])
    await b.cycle()
    const [again] = await take(b, 1)
    expect(again!.delivery).toMatchObject({
      messageId: b.published[0],
      attempts: 2,
      history: [{ kind: 'lease-lapsed', attempt: 1 }],
    })
    expect(await finish(b, rows, 'completed')).toEqual([])
    expect(await finish(b, [again!], 'completed')).toHaveLength(1)
    await b.audit()
  })

  test('is renewed while it is held', async () => {
    const b = await filled(1)
    const rows = await take(b, 1, { leaseMs: 1_000 })
    const [renewed] = await run(b.pool, extendLease(t, { ...rows[0]!, leaseMs: HOUR }))
    expect(renewed!.expiresAt.getTime() - rows[0]!.expiresAt.getTime()).toBeGreaterThan(HOUR / 2)
    expect(await recover(b)).toEqual([{ returned: 0, dead: 0 }])
  })

  test('released gives its deliveries back unattempted', async () => {
    const b = await filled(2)
    const rows = await take(b, 2)
    await finish(b, rows.slice(0, 1), 'completed')
    const positions = rows.map(({ delivery }) => delivery.position)
    expect(await run(b.pool, releaseLeased(t, { ...rows[0]!, positions }))).toEqual([{ position: positions[1] }])
    expect(await leases(b)).toBe(0)
    await b.cycle()
    expect((await take(b, 10)).map(({ delivery }) => [delivery.messageId, delivery.attempts])).toEqual([
      [b.published[1], 1],
    ])
    await b.audit()
  })

  test('that lapses in its last attempt leaves a dead letter', async () => {
    const b = await filled(2)
    await b.pool.query('update posthaste.queues set max_attempts = 2 where id = $1', [b.number])
    for (const expected of [
      { returned: 2, dead: 0 },
      { returned: 0, dead: 2 },
    ]) {
      await lapse(b, await take(b, 2))
      expect(await recover(b)).toEqual([expected])
      await b.cycle()
    }
    const { rows } = await b.pool.query(
      'select reason, attempts, jsonb_array_length(history) as told from posthaste.dead_letters where queue = $1',
      [b.number],
    )
    expect(rows).toEqual(Array(2).fill({ reason: 'lease-lapsed', attempts: 2, told: 2 }))
    await b.audit()
  })

  test('gives back only what it has not settled', async () => {
    const b = await filled(3)
    const rows = await take(b, 3)
    await finish(b, rows.slice(1, 2), 'completed')
    await lapse(b, rows)
    expect(await recover(b)).toEqual([{ returned: 2, dead: 0 }])
    expect(await b.ids('scheduled')).toEqual([b.published[0], b.published[2]])
    await b.audit()
  })

  test('is not taken back while its holder settles, and his neighbours of the batch do not wait for him', async () => {
    const b = await filled(2)
    const rows = await take(b, 2)
    const [one, other] = await Promise.all([b.connect(), b.connect()])
    const settleOn = (client: pg.Client, row: Leased) =>
      run(
        client,
        settleLeased(t, {
          ...row,
          consumer: b.queue,
          outcomes: [settledAs(row.delivery, { kind: 'completed' })],
          inbox: true,
        }),
      )
    await one.query('begin')
    await settleOn(one, rows[0]!)
    await other.query(`begin; set local lock_timeout = '100ms'`)
    expect(await settleOn(other, rows[1]!)).toHaveLength(1)
    expect(await run(other, extendLease(t, { ...rows[0]!, leaseMs: 50 }))).toHaveLength(1)
    await other.query('commit')
    await until(
      async () =>
        (await b.pool.query('select from posthaste.leases where expires_at < clock_timestamp()')).rows.length > 0,
    )
    expect(await recover(b)).toEqual([{ returned: 0, dead: 0 }])
    await one.query('commit')
    expect(await recover(b)).toEqual([{ returned: 0, dead: 0 }])
    expect(await leases(b)).toBe(0)
    await b.audit()
  })

  test('that is being taken back settles nothing', async () => {
    const b = await filled(1)
    const rows = await take(b, 1, { leaseMs: HOUR })
    const reaper = await b.connect()
    await reaper.query('begin')
    await reaper.query('select from posthaste.leases where id = $1 for update', [rows[0]!.lease])
    const settling = finish(b, rows, 'completed')
    await until(async () => (await waiting(b.pool)).length > 0)
    await reaper.query(`update posthaste.leases set expires_at = clock_timestamp() where id = $1`, [rows[0]!.lease])
    await run(reaper, recoverLeases(t, { limit: 10 }))
    await reaper.query('commit')
    expect(await settling).toEqual([])
    await b.audit()
  })

  test('takes also what came back from a crash, since it counts attempts itself', async () => {
    const b = await filled(2)
    const client = await b.connect()
    await client.query('begin')
    await claimOn(client, b.number, 1)
    await client.query('rollback')
    await b.pool.query('update posthaste.ready set crashes = 1 where queue = $1 and message_id = $2', [
      b.number,
      b.published[1],
    ])
    expect((await take(b, 10)).map(({ delivery }) => delivery.messageId)).toEqual(b.published)
  })

  test('notes what it completed, and says what was processed before', async () => {
    const b = await bench()
    const id = uuid7()
    await b.publish(b.pool, { id })
    await b.drain()
    await finish(b, await take(b, 1), 'completed')
    await b.publish(b.pool, { id })
    await b.drain()
    expect((await take(b, 1)).map(({ delivery }) => delivery.duplicate)).toEqual([true])
  })
})

describe('another language', () => {
  const receive = async (b: Bench, max = 10, on: pg.Pool | pg.Client = b.pool) =>
    (await on.query('select * from posthaste.receive($1, $2)', [b.queue, max])).rows
  const call = (b: Bench, name: string, row: Record<string, unknown>, ...more: unknown[]) =>
    b.pool.query(`select posthaste.${name}($1, $2, $3${more.map((_, n) => `, $${n + 4}`).join('')}) as answer`, [
      row.lease_id,
      row.token,
      row.position,
      ...more,
    ])

  test('receives, completes, retries, dead-letters and extends', async () => {
    const b = await bench()
    const ids = await b.publish(
      b.pool,
      { payload: { n: 1 }, key: 'k', headers: { h: 1 } },
      {},
      {},
      { body: 'AP8=', content_type: 'a/b' },
    )
    await b.drain()
    const rows = await receive(b)
    expect(rows.map((row) => row.message_id)).toEqual(ids)
    expect(rows[0]).toMatchObject({
      type: 'order.placed',
      key: 'k',
      headers: { h: 1 },
      payload: { n: 1 },
      attempt: 1,
      version: 1,
    })
    expect(rows[3]).toMatchObject({ payload: null, content_type: 'a/b' })
    expect([...rows[3].body]).toEqual([0, 255])
    expect((await call(b, 'complete', rows[0])).rows).toEqual([{ answer: true }])
    await call(b, 'retry', rows[1], '0 s', 'the gateway was down')
    await call(b, 'dead_letter', rows[2], 'unknown customer')
    const { rows: extended } = await b.pool.query(
      `select posthaste.extend($1, $2, '1 hour') > clock_timestamp() + interval '59 minutes' as later`,
      [rows[3].lease_id, rows[3].token],
    )
    expect(extended).toEqual([{ later: true }])
    await call(b, 'complete', rows[3])
    await b.cycle()
    const again = await receive(b)
    expect(again.map((row) => [row.message_id, row.attempt])).toEqual([[ids[1], 2]])
    const dead = await b.pool.query('select message_id, reason from posthaste.dead_letters where queue = $1', [
      b.number,
    ])
    expect(dead.rows).toEqual([{ message_id: ids[2], reason: 'unknown customer' }])
    await b.audit()
  })

  test('is told when a delivery is not its own', async () => {
    const b = await filled(1)
    const [row] = await receive(b)
    const stranger = { ...row, token: crypto.randomUUID() }
    for (const [name, more] of [
      ['complete', []],
      ['retry', []],
      ['dead_letter', ['no']],
    ] as const) {
      expect(await codeOf(call(b, name, stranger, ...more))).toBe('PH004')
      expect(await codeOf(call(b, name, { ...row, position: '0' }, ...more))).toBe('PH004')
    }
    expect(await codeOf(b.pool.query('select posthaste.extend($1, $2)', [row.lease_id, stranger.token]))).toBe('PH004')
    await call(b, 'complete', row)
    expect(await codeOf(call(b, 'complete', row))).toBe('PH004')
    expect(await codeOf(b.pool.query(`select * from posthaste.receive('nowhere')`))).toBe('PH003')
    expect(await codeOf(b.pool.query('select * from posthaste.receive($1, 1001)', [b.queue]))).toBe('PH001')
    await b.audit()
  })

  test('whose last attempt fails leaves a dead letter with what it said', async () => {
    const b = await filled(1)
    await b.pool.query('update posthaste.queues set max_attempts = 1 where id = $1', [b.number])
    const [row] = await receive(b)
    await call(b, 'retry', row, '1 s', 'x'.repeat(1_000))
    const { rows } = await b.pool.query(
      'select reason, attempts, history from posthaste.dead_letters where queue = $1',
      [b.number],
    )
    expect(rows).toMatchObject([
      { reason: 'max-attempts', attempts: 1, history: [{ attempt: 1, message: 'x'.repeat(500) }] },
    ])
    await b.audit()
  })

  test('is told that it processed a message before, and is not given what need not be processed', async () => {
    const b = await bench()
    const id = uuid7()
    await b.publish(b.pool, { id }, { expires_in_ms: 1 }, { id: uuid7(), type: 'lost' })
    await b.drain()
    await b.pool.query(`update posthaste.outbox set id = -id where type = 'lost' and routing_key = $1`, [b.queue])
    await until(
      async () =>
        (
          await b.pool.query(`select from posthaste.outbox where routing_key = $1 and expires_at < clock_timestamp()`, [
            b.queue,
          ])
        ).rows.length,
    )
    const rows = await receive(b)
    expect(rows.map((row) => row.message_id)).toEqual([id])
    await b.publish(b.pool, { id })
    await b.drain()
    const twin = await receive(b)
    expect(twin).toHaveLength(1)
    await call(b, 'complete', rows[0])
    expect((await call(b, 'complete', twin[0])).rows).toEqual([{ answer: false }])
    await b.publish(b.pool, { id }, {})
    await b.drain()
    expect(await receive(b)).toHaveLength(1)
    const { rows: account } = await b.pool.query(
      `select completed::int, expired::int, dead::int, leased::int from posthaste.audit() where scope = 'queue' and name = $1`,
      [b.queue],
    )
    expect(account).toEqual([{ completed: 3, expired: 1, dead: 1, leased: 1 }])
    const dead = await b.pool.query('select reason from posthaste.dead_letters where queue = $1', [b.number])
    expect(dead.rows).toEqual([{ reason: 'LOG_MISSING' }])
    await b.audit()
  })

  test('receives again what it had in a transaction that it rolled back', async () => {
    const b = await filled(1)
    const client = await b.connect()
    await client.query('begin')
    expect(await receive(b, 1, client)).toHaveLength(1)
    await client.query('rollback')
    expect(await receive(b)).toMatchObject([{ message_id: b.published[0], attempt: 1 }])
  })

  test('completes with its effect, or not at all', async () => {
    const b = await filled(1)
    const [row] = await receive(b)
    const client = await b.connect()
    await client.query('begin')
    await client.query('select posthaste.complete($1, $2, $3)', [row.lease_id, row.token, row.position])
    await client.query('rollback')
    await b.audit()
    expect((await call(b, 'complete', row)).rows).toEqual([{ answer: true }])
    await b.audit()
  })

  test('knows how much waits', async () => {
    const b = await filled(5)
    const rows = await receive(b, 2)
    await call(b, 'complete', rows[0])
    const backlog = async () => (await b.pool.query('select posthaste.backlog($1)::int as n', [b.queue])).rows[0].n
    expect(await backlog()).toBe(4)
    await transaction(await b.connect(), async () => b.pool.query('select posthaste.fold_tally()'))
    expect(await backlog()).toBe(4)
  })
})
