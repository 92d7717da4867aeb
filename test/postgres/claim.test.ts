import type pg from 'pg'
import { describe, expect, test } from 'vitest'
import { type Claimed, chargeCrashes, claim, claimAgain, claimAlone, suspects } from '../../src/postgres/claim.ts'
import { remember } from '../../src/postgres/inbox.ts'
import { restore } from '../../src/postgres/restore.ts'
import { settle } from '../../src/postgres/settle.ts'
import { BOTTOM, SKY } from '../../src/rules/position.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import {
  type Bench,
  bench,
  claimOn,
  codeOf,
  consume,
  GROUND,
  run,
  settledAs,
  settleOn,
  t,
  transaction,
  uuid7,
  waiting,
} from './bench.ts'

const idsOf = (rows: readonly Claimed[]) => rows.map(({ messageId }) => messageId)

describe('a claim', () => {
  test('takes the most urgent first, and the oldest of those', async () => {
    const b = await bench()
    const random = seeded(5)
    const priorities = Array.from({ length: 60 }, () => Math.floor(random() * 10))
    const ids = await b.publish(b.pool, ...priorities.map((priority) => ({ priority })))
    await b.drain(7)
    const client = await b.connect()
    const consumed = await consume(client, b.number, 7)
    const expected = priorities.map((priority, n) => ({ priority, n, id: ids[n]! }))
    expected.sort((one, other) => other.priority - one.priority || one.n - other.n)
    expect(consumed).toEqual(expected.map(({ id }) => id))
    await b.audit()
  })

  test('never takes more than its limit, however many claim at once', async () => {
    const b = await bench()
    await b.publish(b.pool, ...Array.from({ length: 500 }, (_, n) => ({ priority: n % 3 })))
    await b.drain()
    const clients = await Promise.all(Array.from({ length: 8 }, () => b.connect()))
    const taken = await Promise.all(
      clients.map(async (client, n) => {
        const mine: string[] = []
        for (let limit = 1; ; limit = 1 + ((limit + n) % 9)) {
          const rows = await transaction(client, async () => {
            const claimed = await claimOn(client, b.number, limit)
            await settleOn(client, b.number, claimed)
            return claimed
          })
          expect(rows.length).toBeLessThanOrEqual(limit)
          if (rows.length === 0) return mine
          mine.push(...idsOf(rows))
        }
      }),
    )
    expect(new Set(taken.flat()).size).toBe(500)
    expect(taken.flat().length).toBe(500)
    await b.audit()
  })

  test('skips what others hold and waits for nobody', async () => {
    const b = await bench()
    const ids = await b.publishMany(b.pool, 6)
    await b.drain()
    const [one, other] = await Promise.all([b.connect(), b.connect()])
    await one.query('begin')
    expect(idsOf(await claimOn(one, b.number, 2))).toEqual(ids.slice(0, 2))
    await other.query(`begin; set local lock_timeout = '1ms'`)
    expect(idsOf(await claimOn(other, b.number, 2))).toEqual(ids.slice(2, 4))
    await one.query('rollback')
    await other.query('rollback')
  })

  test('starts from its floors', async () => {
    const b = await bench()
    const ids = await b.publish(b.pool, { priority: 5 }, { priority: 5 }, { priority: 0 })
    await b.drain()
    const client = await b.connect()
    await client.query('begin')
    const all = await claimOn(client, b.number, 10)
    await client.query('rollback')
    await putBack(b, all)
    const floors = GROUND.with(9 - 5, String(BigInt(all[0]!.position) + 1n))
    expect(idsOf(await transaction(client, () => claimOn(client, b.number, 10, floors)))).toEqual(ids.slice(1))
  })

  test('that is rolled back has not happened', async () => {
    const b = await bench()
    const ids = await b.publishMany(b.pool, 3)
    await b.drain()
    const client = await b.connect()
    await client.query('begin')
    await claimOn(client, b.number, 3)
    await client.query('rollback')
    expect(await b.ids()).toEqual(ids)
    const { rows } = await b.pool.query('select from posthaste.inbox where message_id = any ($1)', [ids])
    expect(rows).toEqual([])
    await b.audit()
  })
})

describe('the inbox', () => {
  test('tells a message that its consumer has processed before, and no other consumer', async () => {
    const b = await bench()
    const id = uuid7()
    await b.publish(b.pool, { id })
    await b.publish(b.pool, { id })
    await b.drain()
    const client = await b.connect()
    const first = await transaction(client, () => claimOn(client, b.number, 1))
    expect(first.map(({ duplicate }) => duplicate)).toEqual([false])
    await client.query('begin')
    const second = await claimOn(client, b.number, 1)
    expect(second.map(({ duplicate }) => duplicate)).toEqual([true])
    await client.query('rollback')
    await putBack(b, second)
    const facts = { queue: b.number, consumer: 'somebody else', limit: 1, floors: GROUND }
    expect((await transaction(client, () => run(client, claim(t, facts)))).map(({ duplicate }) => duplicate)).toEqual([
      false,
    ])
  })

  test('lets one of two deliveries of a message through, when both are in one batch', async () => {
    const b = await bench()
    const [id, another] = [uuid7(), uuid7()]
    await b.publish(b.pool, { id }, { id: another }, { id, priority: 9 })
    await b.drain()
    const client = await b.connect()
    const rows = await transaction(client, () => claimOn(client, b.number, 10))
    expect(rows.map(({ messageId, duplicate }) => [messageId, duplicate])).toEqual([
      [id, false],
      [id, true],
      [another, false],
    ])
  })

  test('forgets what failed, so that it is attempted again', async () => {
    const b = await bench()
    const [id] = await b.publish(b.pool)
    await b.drain()
    const client = await b.connect()
    await transaction(client, async () =>
      settleOn(client, b.number, await claimOn(client, b.number, 1), { kind: 'retry', delayMs: 0 }),
    )
    await b.cycle()
    const again = await transaction(client, () => claimOn(client, b.number, 1))
    expect(again).toMatchObject([{ messageId: id, duplicate: false }])
  })

  test('remembers what had its effect, though another delivery of it is given back', async () => {
    const b = await bench()
    const id = uuid7()
    await b.publish(b.pool, { id }, { id })
    await b.drain()
    const client = await b.connect()
    await consume(client, b.number, 1)
    await b.publish(b.pool, { id })
    await b.drain()
    await transaction(client, async () =>
      settleOn(client, b.number, await claimOn(client, b.number, 1), { kind: 'retry', delayMs: 0 }),
    )
    await b.cycle()
    expect(await transaction(client, () => claimOn(client, b.number, 1))).toMatchObject([
      { messageId: id, duplicate: true },
    ])
  })

  test('knows ids that are not uuidv7, and ids of any time', async () => {
    const b = await bench()
    const month = 31 * 86_400_000
    const ids = [crypto.randomUUID(), uuid7(), uuid7(month), uuid7(-month), 'ffffffff-ffff-7fff-bfff-ffffffffffff']
    const client = await b.connect()
    for (const fresh of [true, false]) {
      await b.publish(b.pool, ...ids.map((id) => ({ id })))
      await b.drain()
      const rows = await transaction(client, async () => {
        const claimed = await claimOn(client, b.number, 10)
        await settleOn(client, b.number, claimed)
        return claimed
      })
      expect(rows.map(({ duplicate }) => duplicate)).toEqual(ids.map(() => !fresh))
    }
  })

  test('never makes two batches that share ids deadlock', async () => {
    const b = await bench()
    const random = seeded(9)
    const [one, other] = await Promise.all([b.connect(), b.connect()])
    for (let round = 0; round < 200; round += 1) {
      const ids = Array.from({ length: 80 }, () => (random() < 0.2 ? crypto.randomUUID() : uuid7()))
      const shuffled = () =>
        ids
          .map((id) => ({ id, by: random() }))
          .sort((x, y) => x.by - y.by)
          .map(({ id }) => id)
      const note = (client: pg.Client, mine: string[]) =>
        transaction(client, () =>
          client.query('select posthaste.note_processed($1, $2::uuid[]) as known', [b.queue, mine]),
        )
      const known = await Promise.all([note(one, shuffled()), note(other, shuffled())])
      expect(known.map(({ rows }) => rows[0].known.length).toSorted()).toEqual([0, 80])
    }
  })

  test('says for a transaction of one’s own whether a message is new', async () => {
    const b = await bench()
    const messageId = uuid7()
    const once = () => run(b.pool, remember(t, { messageId, consumer: b.queue }))
    expect(await once()).toEqual([{ fresh: true }])
    expect(await once()).toEqual([{ fresh: false }])
  })
})

describe('a claim of a message that somebody else works on', () => {
  test('waits for him to end, and finds a duplicate', async () => {
    const b = await bench()
    const id = uuid7()
    await b.publish(b.pool, { id }, { id })
    await b.drain()
    const [one, other] = await Promise.all([b.connect(), b.connect()])
    await one.query('begin')
    await claimOn(one, b.number, 1)
    const second = transaction(other, () => claimOn(other, b.number, 1))
    await until(async () => (await waiting(b.pool)).length > 0)
    await one.query('commit')
    expect(await second).toMatchObject([{ messageId: id, duplicate: true }])
  })

  test('takes the rest and puts that one off, uncharged, when he takes long (C-2)', async () => {
    const b = await bench()
    const id = uuid7()
    await b.publish(b.pool, { id })
    const others = await b.publish(b.pool, { id }, {}, { id: crypto.randomUUID() })
    await b.drain()
    const [one, other] = await Promise.all([b.connect(), b.connect()])
    await one.query('begin')
    await claimOn(one, b.number, 1)
    await other.query('begin')
    const rest = await claimOn(other, b.number, 10)
    expect(idsOf(rest)).toEqual(others.slice(1))
    await settleOn(other, b.number, rest)
    await other.query('commit')
    const { rows } = await b.pool.query(
      'select message_id, attempts, crashes from posthaste.scheduled where queue = $1',
      [b.number],
    )
    expect(rows).toEqual([{ message_id: id, attempts: 0, crashes: 0 }])
    await one.query('rollback')
    await b.audit()
  })
})

describe('crashes', () => {
  /** Deliveries whose holder was cut off, with nobody alive to put them back. */
  async function crashed(b: Bench, n: number): Promise<Claimed[]> {
    await b.publishMany(b.pool, n)
    await b.drain()
    const client = await b.connect()
    await client.query('begin')
    const rows = await claimOn(client, b.number, n)
    const { rows: pids } = await client.query('select pg_backend_pid() as pid')
    await b.pool.query('select pg_terminate_backend($1, 5000)', [pids[0].pid])
    return rows
  }

  test('leave suspects, which claims pass over', async () => {
    const b = await bench()
    const rows = await crashed(b, 3)
    const [healthy] = await b.publish(b.pool)
    await b.drain()
    const client = await b.connect()
    expect(idsOf(await transaction(client, () => claimOn(client, b.number, 10)))).toEqual([healthy])
    const found = await run(b.pool, suspects(t, { queue: b.number, limit: 10, from: BOTTOM, below: SKY }))
    expect(found.map(({ messageId }) => messageId)).toEqual(idsOf(rows))
    expect(await run(b.pool, suspects(t, { queue: b.number, limit: 2, from: BOTTOM, below: SKY }))).toHaveLength(2)
    expect(await run(b.pool, suspects(t, { queue: b.number, limit: 10, from: BOTTOM, below: BOTTOM }))).toEqual([])
  })

  test('are charged once each, and the charged are claimed one at a time', async () => {
    const b = await bench()
    const rows = await crashed(b, 3)
    const facts = { queue: b.number, rows, maxCrashes: 3 }
    const charged = await run(b.pool, chargeCrashes(t, facts))
    expect(charged.map(({ crashes, dead }) => [crashes, dead])).toEqual([
      [1, false],
      [1, false],
      [1, false],
    ])
    expect(await run(b.pool, chargeCrashes(t, facts))).toEqual([])
    const client = await b.connect()
    expect(await transaction(client, () => claimOn(client, b.number, 10))).toEqual([])
    for (const { messageId } of rows) {
      const alone = await transaction(client, () => run(client, claimAlone(t, { queue: b.number, consumer: b.queue })))
      expect(alone).toMatchObject([{ messageId, crashes: 1, attempts: 0 }])
    }
    await client.query('select posthaste.settle($1, $2, 3)', [b.number, b.queue])
    await b.audit()
  })

  test('beyond the limit are dead letters, whole', async () => {
    const b = await bench()
    const rows = await crashed(b, 1)
    expect(await run(b.pool, chargeCrashes(t, { queue: b.number, rows, maxCrashes: 0 }))).toMatchObject([
      { crashes: 1, dead: true },
    ])
    const { rows: dead } = await b.pool.query(
      'select reason, message_id, payload, crashes from posthaste.dead_letters where queue = $1',
      [b.number],
    )
    expect(dead).toEqual([{ reason: 'crashed', message_id: rows[0]!.messageId, payload: {}, crashes: 1 }])
    await b.audit()
  })

  test('are not charged to what somebody holds or has taken again', async () => {
    const b = await bench()
    const rows = await crashed(b, 2)
    const client = await b.connect()
    await client.query('begin')
    const again = await run(client, claimAgain(t, { queue: b.number, consumer: b.queue, rows: [rows[0]!] }))
    expect(idsOf(again)).toEqual([rows[0]!.messageId])
    const charged = await run(b.pool, chargeCrashes(t, { queue: b.number, rows, maxCrashes: 3 }))
    expect(charged.map(({ messageId }) => messageId)).toEqual([rows[1]!.messageId])
    await settleOn(client, b.number, again)
    await client.query('commit')
    await b.audit()
  })

  test('are none of a process that puts its own rows back', async () => {
    const b = await bench()
    const rows = await crashed(b, 3)
    await putBack(b, rows)
    expect(await run(b.pool, suspects(t, { queue: b.number, limit: 10, from: BOTTOM, below: SKY }))).toEqual([])
    const client = await b.connect()
    expect(idsOf(await transaction(client, () => claimOn(client, b.number, 10)))).toEqual(idsOf(rows))
  })
})

async function putBack(b: Bench, rows: readonly Claimed[]): Promise<void> {
  await run(b.pool, restore(t, { queue: b.number, rows }))
}

describe('what a batch came to', () => {
  test('is recorded delivery by delivery', async () => {
    const b = await bench()
    const ids = await b.publishMany(b.pool, 5)
    await b.drain()
    const client = await b.connect()
    const history = [{ attempt: 1, at: '2026-01-01T00:00:00.000Z', name: 'Error', message: 'no' }]
    await transaction(client, async () => {
      const rows = await claimOn(client, b.number, 10)
      const kinds = ['completed', 'retry', 'dead', 'expired', 'discarded'] as const
      const outcomes = rows.map((row, n) =>
        settledAs(row, { kind: kinds[n]!, attempts: 1, delayMs: 3_600_000, reason: 'because', history }),
      )
      await run(client, settle(t, { queue: b.number, consumer: `queue-${b.number}`, outcomes }))
    })
    const { rows } = await b.pool.query(
      `select completed::int, retried::int, scheduled::int, dead::int, expired::int, discarded::int, ready::int
       from posthaste.audit() where name = $1 and scope = 'queue'`,
      [b.queue],
    )
    expect(rows).toEqual([{ completed: 1, retried: 1, scheduled: 1, dead: 1, expired: 1, discarded: 1, ready: 0 }])
    const scheduled = await b.pool.query(
      'select message_id, attempts, history from posthaste.scheduled where queue = $1',
      [b.number],
    )
    expect(scheduled.rows).toEqual([{ message_id: ids[1], attempts: 1, history }])
    const dead = await b.pool.query(
      'select message_id, reason, attempts, history, type from posthaste.dead_letters where queue = $1',
      [b.number],
    )
    expect(dead.rows).toEqual([{ message_id: ids[2], reason: 'because', attempts: 1, history, type: 'order.placed' }])
    const noted = await b.pool.query('select message_id from posthaste.inbox where message_id = any ($1)', [ids])
    expect(noted.rows.map((row) => row.message_id).toSorted()).toEqual([ids[0], ids[3], ids[4]].toSorted())
    await b.audit()
  })

  test('cannot be recorded in a transaction that an error has aborted', async () => {
    const b = await bench()
    await b.publish(b.pool)
    await b.drain()
    const client = await b.connect()
    await client.query('begin')
    const rows = await claimOn(client, b.number, 1)
    await client.query('select 1 / 0').catch(() => {})
    expect(await codeOf(settleOn(client, b.number, rows))).toBe('25P02')
    await client.query('rollback')
    await b.audit()
  })
})
