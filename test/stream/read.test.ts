import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { ClaimLoop } from '../../src/consumer/claim-loop.ts'
import type { Context } from '../../src/context.ts'
import { LogTrimmed, type MessageFacts, pgDatabase } from '../../src/index.ts'
import { run } from '../../src/postgres/queryable.ts'
import { type ReaderPlace, readerAt, readOn } from '../../src/postgres/readers.ts'
import { BEGINNING } from '../../src/postgres/streams.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { insidesOf } from '../../src/posthaste.ts'
import { readLog } from '../../src/stream/read.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { bench } from './bench.ts'

type Reading = AsyncIterable<MessageFacts>

/** Reads on in the background. */
function gathered(reading: Reading) {
  const messages: MessageFacts[] = []
  const over = (async () => {
    for await (const message of reading) messages.push(message)
  })()
  over.catch(() => {})
  const ids = () => messages.map(({ id }) => id)
  const had = (count: number) => until(() => messages.length >= count, { timeoutMs: 30_000, what: `${count} messages` })
  return { messages, ids, had, over }
}

function stopper() {
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  return stop
}

/** A database of the test's own, dropped when what runs on it has stopped. */
async function own(): Promise<TestDatabase> {
  const database = await createDatabase()
  onTestFinished(() => database.drop())
  return database
}

async function all(reading: Reading): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of reading) ids.push(id)
  return ids
}

test('every reader in every process gets every message, what was there and what comes', async () => {
  const b = await bench()
  const [one, other] = [b.process(), b.process()]
  await one.start()
  await other.start({ relay: false })
  const before = await b.publish(300)
  const { signal } = stopper()
  const read = [one, one, other].map((each) => gathered(each.stream(b.stream).read({ from: 'earliest', signal })))
  await Promise.all(read.map((each) => each.had(300)))
  const after = await b.publish(300, undefined, 300)
  for (const each of read) {
    await each.had(600)
    expect(each.ids()).toEqual([...before, ...after])
  }
})

test('a reader begins with what is committed from then on, with a time, or with a message', async () => {
  const b = await bench()
  const one = b.process()
  await one.start()
  const ids = await b.publish(20)
  await until(async () => (await all(one.stream(b.stream).read({ from: 'earliest', follow: false }))).length === 20)
  const latest = gathered(one.stream(b.stream).read({ signal: stopper().signal }))
  const probes: string[] = []
  await until(async () => probes.push(...(await b.publish(1))) && latest.messages.length > 0, { timeoutMs: 30_000 })
  // a Date has no microseconds: the time is to be later than the last probe, and sooner than what comes
  const { rows } = await b.pool.query(`select clock_timestamp() + interval '2 ms' as now, pg_sleep(0.01)`)
  const later = await b.publish(5, undefined, 20)
  await until(() => latest.ids().at(-1) === later.at(-1), { timeoutMs: 30_000 })
  expect([...ids, ...probes, ...later].join()).toContain(latest.ids().join())
  expect(await all(one.stream(b.stream).read({ from: rows[0].now, follow: false }))).toEqual(later)
  expect(await all(one.stream(b.stream).read({ from: ids[12]!, follow: false }))).toEqual([
    ...ids.slice(12),
    ...probes,
    ...later,
  ])
  await expect(all(one.stream(b.stream).read({ from: randomUUID() }))).rejects.toThrow('the log holds no message')
})

test('bytes, headers and keys come as they were published, and filters keep the rest away', async () => {
  const b = await bench()
  const one = b.process()
  await one.start()
  const bytes = Uint8Array.from({ length: 256 }, (_, n) => n)
  await pgDatabase(b.pool).transaction((tx) =>
    one.publish(tx, [
      { exchange: b.exchange, type: 'blob', body: bytes, contentType: 'image/x', key: 'k1', headers: { a: 1 } },
      { exchange: b.exchange, type: 'note', payload: { text: 'Grüße' }, routingKey: 'eu.note', key: 'k2' },
    ]),
  )
  const read = gathered(one.stream(b.stream).read({ from: 'earliest', signal: stopper().signal }))
  await read.had(2)
  const [blob, note] = read.messages
  expect(blob).toMatchObject({ type: 'blob', contentType: 'image/x', key: 'k1', headers: { a: 1 }, payload: undefined })
  expect(Buffer.from(blob!.body!)).toEqual(Buffer.from(bytes))
  expect(note).toMatchObject({ payload: { text: 'Grüße' }, body: undefined, routingKey: 'eu.note' })
  expect(BigInt(note!.position)).toBeGreaterThan(BigInt(blob!.position))

  const types = async (filter: object) => {
    const found: string[] = []
    for await (const { type } of one.tail({ from: 'earliest', follow: false, exchange: b.exchange, ...filter }))
      found.push(type)
    return found
  }
  expect(await types({})).toEqual(['blob', 'note'])
  expect(await types({ routingKey: 'eu.*' })).toEqual(['note'])
  expect(await types({ key: 'k1' })).toEqual(['blob'])
  expect(await types({ text: 'grÜSSE'.replace('SS', 'ß') })).toEqual(['note'])
  expect(await types({ exchange: 'nowhere' })).toEqual([])
  await expect(types({ routingKey: 'a.b*' })).rejects.toThrow('routingKey')
})

test('the signal ends a reader that waits, and one whose consumer is slow, without an error', async () => {
  const b = await bench()
  const one = b.process()
  await one.start()
  await b.publish(50)
  const stop = stopper()
  const read = gathered(one.stream(b.stream).read({ from: 'earliest', signal: stop.signal }))
  await read.had(50)
  stop.abort()
  await read.over

  const early = new AbortController()
  let seen = 0
  for await (const _ of one.stream(b.stream).read({ from: 'earliest', signal: early.signal })) {
    seen += 1
    if (seen === 10) early.abort()
  }
  expect(seen).toBe(10)
  expect(await all(one.stream(b.stream).read({ from: 'earliest', signal: early.signal }))).toEqual([])
})

test('a reader is woken by the relay of another process', async () => {
  const b = await bench()
  const [relaying, reading] = [b.process(), b.process()]
  await relaying.start()
  const listening = reading.until('listening', undefined, { timeoutMs: 30_000 })
  await reading.start({ relay: false })
  await listening
  const context = insidesOf(reading).context as Context
  // it looks by itself when the test is long over
  const read = gathered(
    readLog(
      { context, claims: new ClaimLoop(context, { pollIntervalMs: 3_600_000 }), stream: b.stream, pollMs: 3_600_000 },
      { from: 'earliest', signal: stopper().signal },
    ),
  )
  for (let count = 1; count <= 5; count += 1) {
    await b.publish(1)
    await read.had(count)
  }
})

test('a reader whose connections are cut again and again misses nothing and gets nothing twice', async () => {
  const b = await bench({}, await own())
  const relaying = b.process()
  await relaying.start()
  const reading = b.process({ max: 3 })
  await reading.start({ relay: false })
  const read = gathered(reading.stream(b.stream).read({ from: 'earliest', signal: stopper().signal }))
  const published: string[] = []
  let cut = 0
  for (let round = 0; round < 8; round += 1) {
    published.push(...(await b.publish(200, undefined, round * 200)))
    await read.had(round * 200 + 1)
    const { rowCount } = await b.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ~ 'posthaste.*read_on' and pid <> pg_backend_pid()`,
    )
    cut += rowCount!
  }
  expect(cut).toBeGreaterThan(0)
  await read.had(1_600)
  expect(read.ids()).toEqual(published)
})

test('what a look brings is bounded by bytes and by rows, and looks join without a gap', async () => {
  const b = await bench({}, await own())
  const one = b.process()
  await one.declare()
  const sizes = Array.from({ length: 60 }, (_, n) => (n % 7 === 0 ? 900 : (n * 37) % 150))
  const ids: string[] = []
  for (const part of [sizes.slice(0, 25), sizes.slice(25)]) {
    const published = await pgDatabase(b.pool).transaction((tx) =>
      one.publish(
        tx,
        part.map((size, n) => ({
          exchange: b.exchange,
          type: 'blob',
          key: String(n),
          body: new Uint8Array(size),
          contentType: 'x/y',
        })),
      ),
    )
    ids.push(...published.map(({ id }) => id))
    await b.pool.query('select posthaste.relay_cycle(1000, true)')
  }
  const tables = tablesOf('posthaste')
  const queue: number = (await b.pool.query('select id from posthaste.queues where name = $1', [b.stream])).rows[0].id
  for (const limit of [3, 1_000]) {
    let [place] = (await run(pgDatabase(b.pool), readerAt(tables, BEGINNING))) as ReaderPlace[]
    const seen: string[] = []
    for (;;) {
      const found = await run(
        pgDatabase(b.pool),
        readOn(tables, { queue, place: place!, since: null, limit, bytes: 500 }),
      )
      const rows = found.flatMap((each) => ('row' in each ? [each.row] : []))
      const bytes = rows.reduce((sum, { body }) => sum + (body!.bytes?.length ?? 0), 0)
      expect(rows.length === 1 || bytes <= 500).toBe(true)
      expect(rows.length).toBeLessThanOrEqual(limit)
      seen.push(...rows.map(({ messageId }) => messageId))
      const next = (found.at(-1) as { place: ReaderPlace }).place
      if (next.b === place!.b && next.id === place!.id) break
      place = next
    }
    expect(seen).toEqual(ids)
  }
})

test('a reader goes on from ticks that are long trimmed', async () => {
  const b = await bench({}, await own())
  const one = b.process()
  await one.declare()
  const cycle = () => b.pool.query('select posthaste.relay_cycle(1000, true)')
  const ids = await b.publish(500)
  await cycle()
  const reading = one.stream(b.stream).read({ from: 'earliest', signal: stopper().signal })
  const seen: string[] = []
  const take = async (count: number) => {
    for (let n = 0; n < count; n += 1) seen.push((await reading.next()).value!.id)
  }
  await take(150)
  for (let round = 0; round < 5; round += 1) {
    ids.push(...(await b.publish(10)))
    await cycle()
  }
  await b.pool.query('select posthaste.trim_logs()')
  const { rows } = await b.pool.query('select count(*)::int as ticks from posthaste.ticks')
  expect(rows[0].ticks).toBeLessThan(4)
  await take(400)
  expect(seen).toEqual(ids)
})

test('a reader is told that the log was emptied before it had read that far', async () => {
  const b = await bench({}, await own())
  const one = b.process()
  await one.declare()
  await b.publish(300)
  await b.pool.query('select posthaste.relay_cycle(1000, true)')
  const reading = one.stream(b.stream).read({ from: 'earliest', signal: stopper().signal })
  await reading.next()
  await b.pool.query(`
    select setval('posthaste.outbox_id', 400000);
    truncate posthaste.outbox_p1;
    update posthaste.partitions set emptied_at = clock_timestamp() where from_id < 200001`)
  await expect(all(reading)).rejects.toThrow(LogTrimmed)
  expect(await all(one.stream(b.stream).read({ from: 'earliest', follow: false }))).toEqual([])
})
