import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { type Claimed, claim } from '../../src/postgres/claim.ts'
import type { Query } from '../../src/postgres/queryable.ts'
import { readerAt, readOn } from '../../src/postgres/readers.ts'
import { latestPosition } from '../../src/postgres/streams.ts'
import { octetsOf } from '../../src/rules/octets.ts'
import { type Bench, bench, GROUND, run, t } from './bench.ts'

const OCTETS = Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256))

test('octets are read in both formats of the server', async () => {
  const b = await bench()
  const client = await b.connect()
  for (const format of ['hex', 'escape'])
    for (const octets of [OCTETS, Buffer.alloc(0), Buffer.from('\\x41'), Buffer.from('\\\\101'), randomBytes(4_096)]) {
      await client.query(`set bytea_output = ${format}`)
      const { rows } = await client.query({ text: 'select $1::bytea', values: [octets], ...AS_TEXTS })
      expect(octetsOf(rows[0]![0])).toEqual(octets)
    }
})

const FORMATS = ['hex', 'escape']

test.each(FORMATS)(
  'a claimed delivery is the same as it came over the wire and as the driver made it (%s)',
  async (format) => {
    const b = await bench()
    const client = await b.connect()
    await client.query(`set bytea_output = ${format}`)
    const ids = await publish(b)
    await b.drain()
    const history = JSON.stringify([{ attempt: 1, at: '2026-01-01T00:00:00Z', name: 'Error', message: 'no' }])
    const of = 'where message_id = $1'
    await client.query(`update posthaste.ready set attempts = 2, history = $2 ${of}`, [ids[0], history])
    await client.query(`update posthaste.outbox set expires_at = now() ${of}`, [ids[1]])
    await client.query(`delete from posthaste.outbox ${of}`, [ids[2]])
    const query = claim(t, { queue: b.number, consumer: b.queue, limit: 100, floors: GROUND })
    const [made, came] = await both(client, query)
    expect(came.map(plain)).toEqual(made.map(plain))
    expect(came).toHaveLength(MESSAGES.length)
    const by = (n: number) => came.find(({ messageId }) => messageId === ids[n])!
    expect(by(0)).toMatchObject({ attempts: 2, history: [{ attempt: 1, message: 'no' }] })
    expect(by(1)).toMatchObject({ expired: true, body: { type: 'order.expired', routingKey: b.queue, version: 1 } })
    expect(by(2)).toMatchObject({ body: null, leftOut: false })
    expect(by(3)).toMatchObject({ body: { bytes: OCTETS, contentType: 'image/png', payload: null } })
    expect(by(4)).toMatchObject({ priority: 2, body: { version: 3, key: 'k', headers: '{"a":1}' } })
    for (const [n, at] of TIMES.entries()) expect(by(n).body?.publishedAt ?? at).toEqual(at)
  },
)

test('what a claim left out says so in both', async () => {
  const b = await bench()
  await b.pool.query(`update posthaste.queues set flow = '{"maxBatchBytes": 1000}' where id = $1`, [b.number])
  await b.publishMany(b.pool, 4, { payload: { text: 'x'.repeat(900) } })
  await b.drain()
  const query = claim(t, { queue: b.number, consumer: b.queue, limit: 100, floors: GROUND })
  const [made, came] = await both(await b.connect(), query)
  expect(came.map(plain)).toEqual(made.map(plain))
  expect(came.map(({ leftOut }) => leftOut)).toEqual([false, true, true, true])
})

test.each(FORMATS)(
  'a message of the log is the same as it came over the wire and as the driver made it (%s)',
  async (format) => {
    const b = await bench({ alone: true })
    const client = await b.connect()
    await client.query(`set bytea_output = ${format}`)
    const [latest] = await run(client, latestPosition(t))
    const [place] = await run(client, readerAt(t, latest!))
    await publish(b)
    await b.drain()
    const [made, came] = await both(
      client,
      readOn(t, { queue: null, place: place!, since: null, limit: 100, bytes: 1e9 }),
    )
    const messages = (read: typeof made) => read.flatMap((one) => ('row' in one ? [plain(one.row)] : []))
    expect(messages(came)).toEqual(messages(made))
    expect(messages(came).map(({ body }) => body!.publishedAt)).toEqual(TIMES)
  },
)

const MESSAGES = [
  { type: 'order.placed' },
  { type: 'order.expired' },
  { type: 'order.lost' },
  { body: OCTETS.toString('base64'), content_type: 'image/png' },
  {
    priority: 7,
    version: 3,
    key: 'k',
    headers: { a: 1 },
    correlation_id: 'c',
    causation_id: 'd',
    type: 'order.urgent',
  },
]

// The last three times a thousand are no whole number where they came as seconds.
const TIMES = [
  '2026-11-28T01:02:03.123Z',
  '2026-11-28T01:02:03.000Z',
  '2039-07-30T16:25:35.450Z',
  '2038-04-08T20:36:52.108Z',
  '2004-03-03T08:16:35.491Z',
].map((text) => new Date(text))

async function publish({ pool, publish }: Bench): Promise<string[]> {
  const ids = await publish(pool, ...MESSAGES)
  for (const [n, id] of ids.entries())
    await pool.query('update posthaste.outbox set published_at = $2 where message_id = $1', [id, TIMES[n]])
  return ids
}

const AS_TEXTS = { rowMode: 'array', types: { getTypeParser: () => (text: string) => text } } as const

/** What a statement brings by each of its two ways, the first of them undone. */
async function both<Result>(
  client: pg.Client,
  { text, values, decode, decodeTexts }: Query<Result>,
): Promise<[Result[], Result[]]> {
  await client.query('begin')
  const made = await client.query(text, [...values])
  await client.query('rollback')
  // or the rows would be known by what was taken back, and passed over
  await client.query('vacuum (freeze) posthaste.ready')
  await client.query('begin')
  const came = await client.query({ text, values: [...values], ...AS_TEXTS } as unknown as pg.QueryArrayConfig)
  await client.query('commit')
  return [made.rows.map(decode!), came.rows.map((row) => decodeTexts!(row))]
}

const FACTS = [
  'priority',
  'position',
  'message',
  'messageId',
  'attempts',
  'crashes',
  'history',
  'duplicate',
  'expired',
  'leftOut',
] as const
const BODY = [
  'exchange',
  'routingKey',
  'type',
  'version',
  'key',
  'correlationId',
  'causationId',
  'headers',
  'payload',
  'bytes',
  'contentType',
  'publishedAt',
] as const

/** Everything that is to be known of it, whatever it is made of. */
function plain(row: Claimed) {
  return { ...picked(row, FACTS), body: row.body && picked(row.body, BODY) }
}

function picked<From, Key extends keyof From>(from: From, keys: readonly Key[]): Pick<From, Key> {
  return Object.fromEntries(keys.map((key) => [key, from[key]])) as Pick<From, Key>
}
