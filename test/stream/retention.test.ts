import { describe, expect } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { test } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'
import { bench, EFFECT } from './bench.ts'

describe('retention', () => {
  async function behind(onLag: 'hold' | 'cut-off', database: Awaited<ReturnType<typeof createDatabase>>) {
    const b = await bench({ onLag }, database)
    const read = async () => {
      const process = b.process()
      process.consumer(b.stream, { batchSize: 50 }).on(b.Moved, async ({ id, payload }, { tx }) => {
        await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
      })
      await process.start()
      return process
    }
    const process = await read()
    await b.publish(100)
    await b.handled(100)
    const group = process.stream(b.stream).group()
    await group.pause()
    await b.publish(100, undefined, 100)
    await until(async () => (await process.status()).relay.unrouted === 0)
    await b.pool.query(`select setval('posthaste.outbox_id', 200001)`)
    await b.publish(50, undefined, 200)
    await until(async () => (await process.status()).relay.unrouted === 0)
    return { b, process, group, read }
  }
  const empty = async (b: Awaited<ReturnType<typeof bench>>, bytes: number | null = null) =>
    (
      await b.pool.query('select posthaste.empty_partition($1, $2) as emptied', [
        bytes === null ? 0 : 86_400_000,
        bytes,
      ])
    ).rows[0].emptied

  test('waits for a group that has not read the log, and tells of it', async () => {
    await using database = await createDatabase()
    const { b, process, group } = await behind('hold', database)
    expect(await empty(b)).toBe(null)
    const { rows } = await b.pool.query('select grp, messages::int from posthaste.lagging_groups(0)')
    expect(rows).toEqual([{ grp: b.stream, messages: 100 }])
    await group.resume()
    await b.handled(250)
    await until(async () => (await empty(b)) === 'outbox_p1', { timeoutMs: 20_000 })
    await process.stop()
  })

  test('cuts a group off whose stream says so: what it has not read is counted and noted, and it goes on with the rest', async () => {
    await using database = await createDatabase()
    const { b, process, group, read } = await behind('cut-off', database)
    // what is in hand already is read
    await process.stop()
    await until(async () => (await empty(b)) === 'outbox_p1', { timeoutMs: 20_000 })
    const { rows } = await b.pool.query(`select * from posthaste.cut_off_from('outbox_p1')`)
    expect(rows).toEqual([{ stream: b.stream, grp: b.stream, messages: '100' }])
    await group.resume()
    const successor = await read()
    await b.handled(150)
    expect((await b.effects()).map(({ n }) => n).toSorted((x, y) => x - y)).toEqual([
      ...Array.from({ length: 100 }, (_, n) => n),
      ...Array.from({ length: 50 }, (_, n) => 200 + n),
    ])
    await successor.stop()
  })

  /** Keeps as little of the log as may be, and does nothing else. */
  const keeper = (b: Awaited<ReturnType<typeof bench>>) =>
    b.process({ relay: { upkeepRoundMs: 200 }, retention: { outboxBytes: 1 } })

  test('tells with every round of a group that keeps the log, and lets that go once it has read it', async () => {
    await using database = await createDatabase()
    const { b, process, group, read } = await behind('hold', database)
    await process.stop()
    const keeping = keeper(b)
    const told: object[] = []
    keeping.on('group-lagging', (unread) => told.push(unread))
    keeping.on('group-cut-off', () => told.push({ cutOff: true }))
    await keeping.start()
    await until(() => told.length >= 3, { timeoutMs: 20_000 })
    expect(new Set(told.map((unread) => JSON.stringify(unread)))).toEqual(
      new Set([JSON.stringify({ queue: b.stream, group: b.stream, messages: 100 })]),
    )
    const emptied = keeping.until('upkeep', ({ step, done }) => step === 'empty-partition' && done, {
      timeoutMs: 20_000,
    })
    await group.resume()
    const reader = await read()
    await b.handled(250)
    await emptied
    await reader.stop()
    await keeping.stop()
  })

  test('tells once of a group that it cuts off, with what that has lost', async () => {
    await using database = await createDatabase()
    const { b, process } = await behind('cut-off', database)
    await process.stop()
    const keeping = keeper(b)
    const told: object[] = []
    keeping.on('group-lagging', () => told.push({ lagging: true }))
    keeping.on('group-cut-off', (unread) => told.push(unread))
    let rounds = 0
    keeping.on('upkeep', ({ step }) => {
      if (told.length > 0 && step === 'empty-partition') rounds += 1
    })
    await keeping.start()
    await until(() => rounds >= 2, { timeoutMs: 20_000 })
    expect(told).toEqual([{ queue: b.stream, group: b.stream, messages: 100 }])
    expect((await keeping.journal()).find(({ act }) => act === 'cut-off')).toMatchObject({ queue: b.stream })
    await keeping.stop()
  })

  test('goes by size too: a log that is larger than it may be loses its oldest partition before its time', async () => {
    await using database = await createDatabase()
    const { b, process, group } = await behind('hold', database)
    await group.resume()
    await b.handled(250)
    expect(await empty(b, 1_000_000_000)).toBe(null)
    await until(async () => (await empty(b, 1)) === 'outbox_p1', { timeoutMs: 20_000 })
    await process.stop()
  })
})

test('a message without a key is refused by a stream that keeps the order of keys, whoever publishes it and how', async () => {
  const b = await bench()
  const process = b.process()
  await process.declare()
  const refused = { code: 'INVALID_MESSAGE', message: expect.stringContaining(b.stream) }
  const message = { exchange: b.exchange, type: 'moved', payload: {} }
  const publish = async (messages: object[]) => {
    const client = await b.pool.connect()
    try {
      await client.query('begin')
      return await process.publish(client, messages as never)
    } finally {
      await client.query('rollback')
      client.release()
    }
  }
  await expect(publish([message])).rejects.toMatchObject(refused)
  await expect(publish([message, { ...message, key: 'a' }])).rejects.toMatchObject(refused)
  await expect(publish([{ ...message, dedupeKey: 'once' }])).rejects.toMatchObject(refused)
  await expect(
    b.pool.query('select posthaste.publish($1, $2, $3, type => $4)', [b.exchange, '', '{}', 'moved']),
  ).rejects.toMatchObject({ code: 'PH001' })
  expect(await publish([{ ...message, key: 'a' }])).toHaveLength(1)
})
