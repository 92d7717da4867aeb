import { describe, expect, test } from 'vitest'
import { putBinding, putExchange, putQueue } from '../../src/postgres/topology.ts'
import { DEFAULT_RETRY } from '../../src/rules/retry.ts'
import {
  type Binding,
  EXCHANGE_KINDS,
  type HeaderValue,
  type Routable,
  route,
  topicRegex,
} from '../../src/rules/route.ts'
import { seeded } from '../support/random.ts'
import { type Bench, bench, declareQueue, pick, publishAll, run, t, uuid7 } from './bench.ts'

const WORDS = ['a', 'b', 'order', 'placed', '日本', 'a+b', '(x)', '[y', '^', '$', '\\d', '{1}', 'a|b', '']
const VALUES: HeaderValue[] = ['x', 'y', 'é', '1', 1, 2, 0.5, true, false, '']
const NAMES = ['h1', 'h2', 'ümlaut']

type Random = () => number

describe('the statement that routes', () => {
  test.each([1, 2, 3, 4])('sends every message where the reference implementation does, seed %i', async (seed) => {
    const b = await bench()
    const random = seeded(seed)
    const of = (name: string) => `${b.queue}.${name}`
    const exchanges = [
      { name: '', kind: 'direct' as const },
      ...EXCHANGE_KINDS.map((kind) => ({ name: of(kind), kind })),
    ]
    const queues = ['one', 'two', 'three', 'four'].map((name) => ({ name: of(name) }))
    for (const exchange of exchanges.slice(1)) await run(b.pool, putExchange(t, exchange, null))
    for (const { name } of queues)
      await run(b.pool, putQueue(t, { name, kind: 'standard', retry: DEFAULT_RETRY, maxCrashes: 3 }, null))

    const types = ['placed', 'paid'].map(of)
    const bindings = Array.from({ length: 40 }, () => {
      const { name, kind } = pick(random, exchanges)
      return anyBinding(random, {
        exchange: name,
        kind: name === '' ? 'default' : kind,
        queue: pick(random, queues).name,
        types,
      })
    })
    for (const binding of bindings) await run(b.pool, putBinding(t, binding, null))

    const messages = Array.from({ length: 300 }, () => ({
      id: uuid7(),
      exchange: pick(random, exchanges).name,
      routingKey: random() < 0.2 ? pick(random, queues).name : anyKey(random),
      type: pick(random, types),
      headers: random() < 0.3 ? undefined : anyHeaders(random),
    }))
    const published = messages.map(({ id, exchange, routingKey, type, headers }) => ({
      id,
      exchange,
      routing_key: routingKey,
      type,
      ...(headers && { headers }),
    }))
    // few are routed one by one, many by one statement
    for (let from = 0; from < 120; from += 3) {
      await publishAll(b.pool, ...published.slice(from, from + 3))
      await b.drain(100)
    }
    await publishAll(b.pool, ...published.slice(120))
    await b.drain(100)
    const expected = Object.fromEntries(
      messages.map((message) => [told(message), route(message, { exchanges, queues, bindings }).toSorted()]),
    )
    expect(await whereTo(b, messages)).toEqual(expected)
    expect(Object.values(expected).filter((to) => to.length === 0).length).toBeGreaterThan(0)
    expect(Object.values(expected).filter((to) => to.length > 1).length).toBeGreaterThan(0)
    await b.audit()
  })
})

type Sent = Routable & { readonly id: string }

const told = ({ id, exchange, routingKey, type, headers }: Sent) =>
  `${id} ${exchange} ${routingKey} ${type} ${JSON.stringify(headers)}`

async function whereTo(b: Bench, messages: readonly Sent[]): Promise<Record<string, string[]>> {
  const { rows } = await b.pool.query(
    `select r.message_id as id, array_agg(q.name) as to from posthaste.ready r join posthaste.queues q on q.id = r.queue group by 1`,
  )
  const to = new Map<string, string[]>(rows.map((row) => [row.id, row.to]))
  return Object.fromEntries(messages.map((message) => [told(message), (to.get(message.id) ?? []).toSorted()]))
}

function anyKey(random: Random): string {
  return Array.from({ length: Math.floor(random() * 4) }, () => pick(random, WORDS)).join('.')
}

function anyPattern(random: Random): string {
  return Array.from({ length: Math.floor(random() * 4) }, () => pick(random, ['*', '#', '#', ...WORDS])).join('.')
}

function anyHeaders(random: Random): Record<string, unknown> {
  const values = [...VALUES, null, [1], { x: 1 }]
  return Object.fromEntries(NAMES.filter(() => random() < 0.6).map((name) => [name, pick(random, values)]))
}

interface Between {
  readonly exchange: string
  readonly kind: string
  readonly queue: string
  readonly types: readonly string[]
}

function anyBinding(random: Random, { exchange, kind, queue, types }: Between): Binding {
  const any = random() < 0.1 || kind === 'fanout' || kind === 'headers'
  const routingKey = any ? null : kind === 'topic' ? anyPattern(random) : anyKey(random)
  const wanted = NAMES.filter(() => random() < 0.5).map((name) => [name, pick(random, VALUES)] as const)
  return {
    exchange,
    queue,
    routingKey,
    pattern: kind === 'topic' && routingKey !== null ? topicRegex(routingKey) : null,
    type: random() < 0.7 && kind !== 'default' ? null : pick(random, types),
    match: kind === 'headers' ? pick(random, ['all', 'any'] as const) : null,
    arguments: kind === 'headers' && random() < 0.9 ? Object.fromEntries(wanted) : null,
  }
}

describe('a message', () => {
  test('that several bindings send to a queue arrives there once', async () => {
    const b = await bench()
    await exchangeWith(b, 'topic', [
      { routingKey: '#' },
      { routingKey: 'order.*' },
      { routingKey: 'order.placed' },
      { routingKey: null, type: 'order.placed' },
    ])
    const [id] = await b.publish(b.pool, { exchange: b.queue, routing_key: 'order.placed' })
    await b.drain()
    expect(await b.ids()).toEqual([id])
  })

  test('that no binding admits is counted as unmatched, per exchange', async () => {
    const b = await bench()
    await exchangeWith(b, 'direct', [{ routingKey: 'known' }])
    await b.publish(b.pool, { exchange: b.queue, routing_key: 'known' })
    await b.publishMany(b.pool, 2, { exchange: b.queue, routing_key: 'unknown' })
    const cycle = await b.cycle()
    expect(cycle).toMatchObject({ messages: 3, deliveries: 1, queues: [b.number] })
    const { rows } = await b.pool.query(
      `select published, routed, unmatched, unrouted from posthaste.audit() where scope = 'exchange' and name = $1`,
      [b.queue],
    )
    expect(rows).toEqual([{ published: '3', routed: '1', unmatched: '2', unrouted: '0' }])
  })

  test('for a stream is not a delivery', async () => {
    const b = await bench()
    await b.pool.query(`insert into posthaste.queues (name, kind) values ($1, 'stream')`, [`${b.queue}.stream`])
    const before = await deliveries(b)
    await b.publish(b.pool, { routing_key: `${b.queue}.stream` })
    expect(await b.cycle()).toMatchObject({ messages: 1, deliveries: 0 })
    expect(await deliveries(b)).toBe(before)
  })

  test('whose routing key is not a text that a pattern foresaw is no danger to the others', async () => {
    const b = await bench()
    await exchangeWith(b, 'topic', [{ routingKey: '#.a+b.*' }])
    const keys = ['a+b.c', `${'x.'.repeat(120)}a+b.c`, 'a+b', '(((', "'; drop table ready; --", '%s%n', 'é.a+b.é']
    await b.publish(b.pool, ...keys.map((routing_key) => ({ exchange: b.queue, routing_key })))
    await b.drain()
    expect((await b.ids()).length).toBe(3)
  })
})

describe('headers', () => {
  test('whose numbers are written otherwise are equal', async () => {
    const b = await bench()
    await exchangeWith(b, 'headers', [{ match: 'all', arguments: { n: 1 } }])
    const text = ['{"n": 1.0}', '{"n": 1e0}', '{"n": "1"}', '{"n": 2, "n": 1}']
    for (const headers of text) {
      await b.pool.query(`select posthaste.publish($1, '', '{}', type => 't', headers => $2)`, [b.queue, headers])
    }
    await b.drain()
    expect((await b.ids()).length).toBe(3)
  })

  test('that could stop the router for everybody are refused', async () => {
    const b = await bench()
    const publish = (headers: string) =>
      b.pool.query(`select posthaste.publish('', $1, '{}', headers => $2)`, [b.queue, headers])
    await expect(publish('{"n": 1e999999}')).rejects.toMatchObject({ code: 'PH001' })
    await publish('{"n": 1e400}')
    expect(await b.drain()).toBe(1)
  })
})

test('deliveries of a cycle keep the order of publishing, and its cycles the order of commits', async () => {
  const b = await bench()
  const other = await declareQueue(b.pool, `${b.queue}.other`)
  await exchangeWith(b, 'fanout', [{}])
  await b.pool.query('insert into posthaste.bindings (exchange, queue) values ($1, $2)', [b.queue, other])
  const early = await b.connect()
  await early.query('begin')
  const first = await b.publishMany(early, 3, { exchange: b.queue })
  const second = await b.publishMany(b.pool, 3, { exchange: b.queue })
  await b.drain()
  await early.query('commit')
  await b.drain()
  expect(await b.ids()).toEqual([...second, ...first])
  const { rows } = await b.pool.query('select message_id from posthaste.ready where queue = $1 order by position', [
    other,
  ])
  expect(rows.map((row) => row.message_id)).toEqual([...second, ...first])
})

/** An exchange named like the queue, bound to it. */
async function exchangeWith(
  b: Bench,
  kind: Binding['match'] | string,
  bindings: readonly Partial<Binding>[],
): Promise<void> {
  await run(b.pool, putExchange(t, { name: b.queue, kind: kind as string }, null))
  for (const { routingKey = null, type = null, match = null, arguments: wanted = null } of bindings) {
    const pattern = kind === 'topic' && routingKey !== null ? topicRegex(routingKey) : null
    await run(
      b.pool,
      putBinding(t, { exchange: b.queue, queue: b.queue, routingKey, pattern, type, match, arguments: wanted }, null),
    )
  }
}

async function deliveries(b: Bench): Promise<number> {
  return (await b.pool.query('select count(*)::int as n from posthaste.ready')).rows[0].n
}
