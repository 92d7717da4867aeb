import { createHash } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  defineMessage,
  defineTopology,
  migrate,
  Posthaste,
  type PosthasteOptions,
  pgDatabase,
  type RawMessage,
} from '../../src/index.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

const Order = defineMessage('order.placed', z.object({ n: z.int() }))
const GetQuote = defineMessage('quote.get', z.object({}), { reply: z.object({}) })
const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: { billing: { from: [Order, GetQuote] }, mail: {} },
})
const ID = '0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4e'

let db: TestDatabase
let posthaste: Posthaste<pg.PoolClient, 'billing' | 'mail'>

beforeAll(async () => {
  db = await createDatabase()
  posthaste = new Posthaste({ database: pgDatabase(db.pool), topology })
  await posthaste.declare()
})
afterAll(async () => {
  await posthaste.stop()
  await db.drop()
})

/** Everything the database holds, as one number. */
async function everything(): Promise<string> {
  const { rows } = await db.pool.query(
    `select relname as name from pg_class where relnamespace = 'posthaste'::regnamespace and relkind = 'r' order by 1`,
  )
  const hash = createHash('sha256')
  for (const { name } of rows) {
    const { rows: all } = await db.pool.query(`select t::text as row from posthaste."${name}" t order by 1`)
    hash.update(`${name} ${JSON.stringify(all)}`)
  }
  return hash.digest('hex')
}

type Wrong = readonly [what: string, attempt: () => unknown, code: string, says: string | RegExp]

/** Each is refused with its code, in words that say what is wrong, and the database is what it was. */
function refused(wrongs: readonly Wrong[]) {
  test.each(wrongs)('%s', async (_, attempt, code, says) => {
    const before = await everything()
    const error = await Promise.resolve()
      .then(attempt)
      .then(
        () => undefined,
        (thrown) => thrown,
      )
    expect(error, 'was accepted').toBeDefined()
    expect({ code: error.code, message: error.message }).toMatchObject({
      code,
      message: expect.stringMatching(typeof says === 'string' ? says.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&') : says),
    })
    expect(await everything()).toBe(before)
  })
}

const publish = (message: object, options?: object) => () =>
  pgDatabase(db.pool).transaction((tx) => posthaste.publish(tx, message as RawMessage, options as never))
const raw = { type: 'mail', payload: {} }
const define = (definition: object) => () => defineTopology(definition as never)
const queueOf = (definition: object) =>
  define({ exchanges: { orders: 'topic', alerts: 'headers' }, queues: { a: definition } })
const sql =
  (text: string, ...values: unknown[]) =>
  () =>
    db.pool.query(text, values)
const made = (options: object) => () =>
  new Posthaste({ database: pgDatabase(db.pool), ...options } as PosthasteOptions<pg.PoolClient, never>)
const any = <Value>(value: unknown) => value as Value
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
const deep = `${'['.repeat(1_000)}1${']'.repeat(1_000)}`

describe('an option nobody reads is refused, with the one that was meant', () => {
  const unknown = 'UNKNOWN_OPTION'
  const billing = () => posthaste.queue('billing')
  refused([
    ['Posthaste', made({ topologie: topology }), unknown, 'did you mean "topology"?'],
    ['relay', made({ relay: { pollMs: 5 } }), unknown, 'relay.poll'],
    ['retention', made({ retention: { outboxDays: 5 } }), unknown, 'retention.outbox'],
    ['start', () => posthaste.start(any({ relays: true })), unknown, 'did you mean "relay"?'],
    ['stop', () => posthaste.stop(any({ timeout: 1 })), unknown, 'did you mean "timeoutMs"?'],
    ['declare', () => posthaste.declare(any({ forced: true })), unknown, 'did you mean "force"?'],
    ['migrate', () => migrate(any({ url: db.url, scheme: 'x' })), unknown, 'did you mean "schema"?'],
    ['pgDatabase', () => pgDatabase(db.pool, any({ deadline: 1 })), unknown, 'did you mean "deadlineMs"?'],
    ['publish', publish(raw, { delay: 5 }), unknown, 'did you mean "delayMs"?'],
    ['a raw message', publish({ ...raw, routing_key: 'a' }), unknown, 'did you mean "routingKey"?'],
    ['create', () => Order.create({ n: 1 }, any({ dedupe: 'a' })), unknown, 'did you mean'],
    ['a contract', () => defineMessage('m', z.object({}), any({ upcasts: {} })), unknown, 'did you mean "upcast"?'],
    [
      'consumer',
      () => posthaste.consumer('mail', any<object>({ concurency: 1 })),
      unknown,
      'did you mean "concurrency"?',
    ],
    ['topology', define({ queue: {} }), unknown, 'did you mean "queues"?'],
    ['a queue', queueOf({ retries: {} }), unknown, 'did you mean "queues.a.retry"?'],
    ['a retry policy', queueOf({ retry: { attempts: 5 } }), unknown, 'retry.'],
    ['a binding', queueOf({ from: [{ exchange: 'orders', key: 'a' }] }), unknown, 'routingKey'],
    ['a dead letter route', queueOf({ deadLetter: { exchange: 'orders', key: 'a' } }), unknown, 'routingKey'],
    [
      'schedule',
      () => posthaste.schedule('s', '@daily', raw, any({ timezone: 'UTC' })),
      unknown,
      'did you mean "timeZone"?',
    ],
    ['request', () => posthaste.request(GetQuote, {}, any({ timeout: 5 })), unknown, 'did you mean "timeoutMs"?'],
    ['receive', () => billing().receive(any({ lease: 5 })), unknown, 'did you mean "leaseMs"?'],
    [
      'deliveries',
      () =>
        billing()
          .deliveries(any({ lease: 5 }))
          .next(),
      unknown,
      'did you mean "leaseMs"?',
    ],
    ['drain', () => billing().drain(any({ max: 5 })), unknown, 'max'],
    ['peek', () => billing().peek(any({ count: 5 })), unknown, 'limit'],
    ['pause', () => billing().pause(any({ for: 5 })), unknown, 'did you mean "forMs"?'],
    ['delete', () => billing().delete(any({ forced: true })), unknown, 'did you mean "force"?'],
    ['dead letters', () => posthaste.deadLetters.list(any({ queues: 'a' })), unknown, 'did you mean "queue"?'],
    ['a selection', () => posthaste.deadLetters.purge(any({ reasons: 'a' })), unknown, 'did you mean "reason"?'],
    ['redrive', () => posthaste.deadLetters.redrive('1', any({ dry: true })), unknown, 'did you mean "dryRun"?'],
    ['trace', () => posthaste.trace(ID, any({ deep: 1 })), unknown, 'known are depth'],
    ['journal', () => posthaste.journal(any({ count: 1 })), unknown, 'limit'],
    ['erase', () => posthaste.erase(ID, any({ from: 'ada' })), unknown, 'by'],
    ['until', () => posthaste.until('completed', undefined, any({ timeout: 1 })), unknown, 'did you mean "timeoutMs"?'],
  ])
})

describe('times that cannot be', () => {
  const invalid = 'INVALID_MESSAGE'
  refused([
    ['a negative delay', publish(raw, { delayMs: -1 }), invalid, 'delayMs is not a number of milliseconds from 0'],
    ['a delay that is no number', publish(raw, { delayMs: Number.NaN }), invalid, 'delayMs'],
    ['a delay in words', publish(raw, { delayMs: '5s' }), invalid, 'delayMs'],
    ['a delay of eleven years', publish(raw, { delayMs: 11 * 31_536_000_000 }), invalid, 'ten years'],
    ['no date', publish(raw, { deliverAt: new Date('never') }), invalid, 'deliverAt is not a Date'],
    ['delay and date', publish(raw, { delayMs: 1, deliverAt: new Date() }), invalid, 'excludes deliverAt'],
    ['a time to live of nothing', publish(raw, { expiresInMs: 0 }), invalid, 'expiresInMs'],
    ['a dedupe window of nothing', publish(raw, { dedupeKey: 'k', dedupeWindowMs: 0 }), invalid, 'dedupeWindowMs'],
    [
      'a delay in SQL',
      sql(`select posthaste.publish('', 'mail', '{}', delay => '-1 s')`),
      'PH001',
      'delay_ms is not within',
    ],
    ['a ttl in SQL', sql(`select posthaste.publish('', 'mail', '{}', expires_in => '-1 s')`), 'PH001', 'expires_in_ms'],
    ['a pause', () => posthaste.queue('mail').pause({ forMs: -1 }), 'INVALID_OPTION', 'forMs'],
    ['a pause in SQL', sql(`select posthaste.pause('mail', 'x', '-1 s')`), 'PH001', 'duration'],
    ['a lease', () => posthaste.queue('mail').receive({ leaseMs: 0 }), 'INVALID_OPTION', 'leaseMs'],
    ['a wait', () => posthaste.queue('mail').receive({ waitMs: -1 }), 'INVALID_OPTION', 'waitMs'],
    ['a handler’s time', () => posthaste.consumer('mail', { timeoutMs: -1 }), 'INVALID_OPTION', 'timeoutMs'],
    ['a retry', queueOf({ retry: { minMs: -1 } }), 'INVALID_OPTION', 'queues.a.retry.minMs'],
    ['a list of retries', queueOf({ retry: { delaysMs: [1, -1] } }), 'INVALID_OPTION', 'queues.a.retry.delaysMs.1'],
    ['a request', () => posthaste.request(GetQuote, {}, { timeoutMs: -1 }), 'INVALID_OPTION', 'timeoutMs'],
  ])
})

describe('amounts that cannot be', () => {
  refused([
    ['a priority of 10', publish(raw, { priority: 10 }), 'INVALID_MESSAGE', 'priority'],
    ['half a priority', publish(raw, { priority: 0.5 }), 'INVALID_MESSAGE', 'priority'],
    ['no attempt', queueOf({ retry: { maxAttempts: 0 } }), 'INVALID_OPTION', 'queues.a.retry.maxAttempts'],
    ['no crash', queueOf({ maxCrashes: 0 }), 'INVALID_OPTION', 'queues.a.maxCrashes'],
    ['no handler at a time', () => posthaste.consumer('mail', { concurrency: 0 }), 'INVALID_OPTION', 'concurrency'],
    ['an empty batch', () => posthaste.consumer('mail', { batchSize: 0 }), 'INVALID_OPTION', 'batchSize'],
    ['none received', () => posthaste.queue('mail').receive({ max: 0 }), 'INVALID_OPTION', 'max'],
    [
      'a payload of no byte',
      define({ queues: {}, limits: { payloadBytes: 0 } }),
      'INVALID_OPTION',
      'limits.payloadBytes',
    ],
    ['version 0', () => defineMessage('m', z.object({}), { version: 0 }), 'INVALID_CONTRACT', 'its version'],
  ])
})

describe('a pattern that cannot match', () => {
  const bound = (routingKey: string) => queueOf({ from: [{ exchange: 'orders', routingKey }] })
  refused([
    ['a star within a word', bound('order.*d'), 'INVALID_TOPOLOGY', '"*d", where * and # stand for whole words'],
    ['a hash within a word', bound('order#'), 'INVALID_TOPOLOGY', '"order#"'],
    ['more bytes than a routing key has', bound('x'.repeat(256)), 'INVALID_TOPOLOGY', 'has more than 255 bytes'],
    [
      'headers of nothing',
      queueOf({ from: [{ exchange: 'alerts', arguments: { headers: {} } }] }),
      'INVALID_TOPOLOGY',
      'no headers to compare',
    ],
    [
      'a routing key of headers',
      queueOf({ from: [{ exchange: 'alerts', routingKey: 'a' }] }),
      'INVALID_TOPOLOGY',
      'does not look at',
    ],
    ['an exchange nobody declares', queueOf({ from: [{ exchange: 'order' }] }), 'DANGLING_EXCHANGE', 'orders'],
    [
      'the same twice',
      queueOf({ from: [{ exchange: 'orders' }, { exchange: 'orders' }] }),
      'INVALID_TOPOLOGY',
      'twice',
    ],
  ])
})

describe('names: any text of 1 to 255 bytes in UTF-8 without control characters, compared in NFC', () => {
  const invalid = 'INVALID_TOPOLOGY'
  const named = (name: string) => define({ queues: { [name]: {} } })
  refused([
    ['none', named(''), invalid, 'the name of the queue is empty'],
    ['a line break', named('a\nb'), invalid, 'control character'],
    ['an escape', named('a\u001b[31mb'), invalid, 'control character'],
    ['NUL', named('a\0'), invalid, 'NUL'],
    ['__proto__', named('__proto__'), invalid, 'JavaScript keeps for itself'],
    ['half a surrogate pair', named('a\ud800'), invalid, 'surrogate'],
    ['256 bytes', named('é'.repeat(128)), invalid, 'more than 255 bytes'],
    ['two that read alike', define({ queues: { café: {}, 'cafe\u0301': {} } }), invalid, 'other code points'],
    ['an exchange', define({ exchanges: { 'a\n': 'topic' }, queues: {} }), invalid, 'name of the exchange'],
    ['a contract', () => defineMessage('a\tb', z.object({})), 'INVALID_CONTRACT', 'control character'],
    ['a routing key', publish(raw, { routingKey: 'a\nb' }), 'INVALID_MESSAGE', 'routingKey'],
    [
      'a routing key in SQL',
      sql('select posthaste.publish($1, $2, $3)', '', 'a\nb', '{}'),
      'PH001',
      'control character',
    ],
    ['an exchange nobody declared', publish({ ...raw, exchange: 'order' }), 'UNKNOWN_EXCHANGE', 'order'],
    ['a queue nobody declared', () => posthaste.queue(any('biling')).status(), 'UNKNOWN_QUEUE', 'biling'],
    ['a consumer of none', () => posthaste.consumer(any('biling')), 'UNKNOWN_QUEUE', 'did you mean "billing"?'],
    ['a schedule', () => posthaste.schedule('a\nb', '@daily', raw), 'INVALID_SCHEDULE', 'control character'],
    ['a header', publish(raw, { headers: { 'a\n': 1 } }), 'INVALID_MESSAGE', 'headers'],
    ['a schema', made({ schema: 'Post Haste' }), 'INVALID_SCHEMA_NAME', 'lower-case'],
  ])

  test.each([['Rechnungen 📬'], ['発注'], ['עברית'], ["o'brien; drop table"], ['constructor'], ['a"b\\c'], [' ']])(
    'a queue called %j works from publishing to its end',
    async (name) => {
      await using own = await createDatabase()
      const pool = new pg.Pool({ connectionString: own.url })
      pool.on('error', () => {})
      const odd = new Posthaste({
        database: pgDatabase(pool),
        topology: defineTopology({
          exchanges: Object.fromEntries([[name, 'topic' as const]]),
          queues: Object.fromEntries([[name, { from: [{ exchange: name, routingKey: name }] }]]),
        }),
      })
      odd.consumer(name).otherwise(() => {})
      await odd.start()
      const completed = odd.until('completed')
      await pgDatabase(pool).transaction((tx) =>
        odd.publish(tx, { type: name, exchange: name, payload: { [name]: name }, headers: { [name]: name } }),
      )
      expect(await completed).toMatchObject({ queue: name, type: name })
      expect((await odd.audit()).difference).toBe(0)
      const { stdout } = await cli(['status', '--json'], { env: { DATABASE_URL: own.url } })
      expect(JSON.parse(stdout).queues.map(({ queue }: { queue: string }) => queue)).toEqual([name])
      await odd.stop()
      await pool.end()
    },
  )
})

describe('a schedule that never fires, or is none', () => {
  const at = (cron: string, options?: object) => () => posthaste.schedule('s', cron, raw, options as never)
  const invalid = 'INVALID_SCHEDULE'
  refused([
    ['the 30th of February', at('0 0 30 2 *'), invalid, 'never fires'],
    ['a year that is over', at('0 0 0 1 1 * 1999'), invalid, 'never fires'],
    ['no expression', at('every day'), invalid, 'cron'],
    ['a time zone that is none', at('@daily', { timeZone: 'Mars/Olympus' }), invalid, 'time zone'],
    ['a message with an id', () => posthaste.schedule('s', '@daily', { ...raw, id: ID }), invalid, 'an id of its own'],
    [
      'a message that breaks its contract',
      () => posthaste.schedule('s', '@daily', Order.create({ n: any('x') })),
      'CONTRACT_VIOLATION',
      'payload.n',
    ],
  ])
})

describe('payloads', () => {
  const invalid = 'INVALID_MESSAGE'
  const large = 'x'.repeat(1_048_577)
  refused([
    ['over the limit', publish({ ...raw, payload: { large } }), invalid, /payload.* 1048576/],
    [
      'over the limit in bytes',
      publish({ ...raw, payload: { large: 'é'.repeat(600_000) } }),
      invalid,
      'the limit is 1048576',
    ],
    [
      'a body over the limit',
      publish({ type: 'mail', body: Buffer.alloc(1_048_577), contentType: 'a/b' }),
      invalid,
      'the limit is',
    ],
    [
      'over the limit in SQL',
      sql(`select posthaste.publish('', 'mail', $1::json)`, JSON.stringify({ large })),
      'PH001',
      'the limit is 1048576',
    ],
    ['1,000 levels deep', publish({ ...raw, payload: nested(1_000) }), invalid, 'is nested deeper than 64 levels'],
    ['10,000 levels deep', publish({ ...raw, payload: nested(5_000) }), invalid, 'is nested deeper than 64 levels'],
    [
      '1,000 levels deep in SQL',
      sql(`select posthaste.publish('', 'mail', $1::json)`, deep),
      'PH001',
      'is nested deeper than 64',
    ],
    ['1,000 levels of headers', publish(raw, { headers: { h: nested(1_000) } }), invalid, 'headers'],
    ['a cycle', publish({ ...raw, payload: cycle() }), invalid, 'is a cycle'],
    ['a Date', publish({ ...raw, payload: { at: new Date() } }), invalid, 'payload.at is an instance of Date'],
    ['a BigInt', publish({ ...raw, payload: { n: 1n } }), invalid, 'payload.n is a BigInt'],
    ['NaN', publish({ ...raw, payload: { n: Number.NaN } }), invalid, 'payload.n is NaN'],
    ['NUL', publish({ ...raw, payload: { a: 'b\0' } }), invalid, 'payload.a holds a NUL'],
    ['nothing', publish({ type: 'mail' }), invalid, 'payload'],
    ['null', publish({ ...raw, payload: null }), invalid, 'payload is null'],
    [
      'both payload and body',
      publish({ ...raw, body: Buffer.from('a'), contentType: 'a/b' }),
      invalid,
      'excludes payload',
    ],
    ['against the contract', publish(Order.create({ n: any('one') })), 'CONTRACT_VIOLATION', 'payload.n'],
    [
      'one bad message of many',
      () => pgDatabase(db.pool).transaction((tx) => posthaste.publish(tx, [raw, { ...raw, priority: 10 }])),
      invalid,
      'priority',
    ],
    [
      'a redriven one 1,000 levels deep',
      () => posthaste.deadLetters.redrive('1', { payload: nested(1_000) }),
      invalid,
      'is nested deeper',
    ],
  ])
})

describe('ids that are none', () => {
  refused([
    ['of a message', publish(raw, { id: '42' }), 'INVALID_MESSAGE', 'id is not a uuid'],
    [
      'one for many',
      () => pgDatabase(db.pool).transaction((tx) => posthaste.publish(tx, [raw, raw], { id: ID })),
      'INVALID_OPTION',
      'every message of the list',
    ],
    ['of a dead letter', () => posthaste.deadLetters.show('x'), 'INVALID_OPTION', 'id'],
    ['to trace', () => posthaste.trace('x'), 'INVALID_OPTION', 'not a uuid'],
    ['to erase', () => posthaste.erase('x'), 'INVALID_OPTION', 'not a uuid'],
    ['to cancel', () => posthaste.queue('mail').cancel('x'), 'INVALID_OPTION', 'messageId'],
    [
      'for an inbox',
      () => pgDatabase(db.pool).transaction((tx) => posthaste.inbox('a').once(tx, 'x', () => {})),
      'INVALID_OPTION',
      'not a uuid',
    ],
  ])
})

test('what a handler asks for in vain fails its attempt, in words, and is no wish forgotten', async () => {
  await using own = await createDatabase()
  const pool = new pg.Pool({ connectionString: own.url })
  pool.on('error', () => {})
  const retry = { maxAttempts: 1 }
  const odd = new Posthaste({ database: pgDatabase(pool), topology: defineTopology({ queues: { a: { retry } } }) })
  type Loose = Record<'retry' | 'pause' | 'deadLetter' | 'discard', (given?: unknown) => unknown>
  const wishes: ((delivery: Loose) => unknown)[] = [
    (delivery: Loose) => delivery.retry({ delayMs: -1 }),
    (delivery: Loose) => delivery.retry({ delay: 5 }),
    (delivery: Loose) => delivery.pause({ forMs: 0 }),
    (delivery: Loose) => delivery.pause({ forMs: 5, reasons: 'x' }),
    (delivery: Loose) => delivery.deadLetter(''),
    (delivery: Loose) => delivery.discard(),
  ]
  odd.consumer('a').otherwise((delivery) => wishes[(delivery.payload as { n: number }).n]!(delivery as never) as never)
  await odd.start()
  const dead = Promise.all(wishes.map((_, n) => odd.until('dead-lettered', ({ messageId }) => messageId === ids[n])))
  const ids = wishes.map((_, n) => `0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4${n}`)
  await pgDatabase(pool).transaction((tx) =>
    odd.publish(
      tx,
      ids.map((id, n) => ({ type: 'a', payload: { n }, id })),
    ),
  )
  expect((await dead).map(({ error }) => error!.message)).toEqual([
    expect.stringContaining('"delayMs"'),
    expect.stringContaining('Unknown option "delay": did you mean "delayMs"?'),
    expect.stringContaining('"forMs"'),
    expect.stringContaining('Unknown option "reasons": did you mean "reason"?'),
    expect.stringContaining('"reason"'),
    expect.stringContaining('"reason"'),
  ])
  await odd.stop()
  await pool.end()
})

function cycle(): object {
  const loop: { self?: object } = {}
  loop.self = { loop }
  return loop
}
