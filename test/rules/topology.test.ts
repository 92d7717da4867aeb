import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { DanglingExchange, InvalidOption, InvalidTopology, UnknownOption } from '../../src/errors.ts'
import { defineMessage } from '../../src/rules/contract.ts'
import { DEFAULT_RETRY } from '../../src/rules/retry.ts'
import { route } from '../../src/rules/route.ts'
import { defineTopology, type TopologyDefinition } from '../../src/rules/topology.ts'

const OrderPlaced = defineMessage('order.placed', z.object({ country: z.string() }), {
  exchange: 'orders',
  routingKey: ({ country }) => `order.placed.${country}`,
})
const Ping = defineMessage('ping', z.object({}))

const define = (definition: object) => defineTopology(definition as TopologyDefinition)

describe('a topology', () => {
  test('is plain facts with its defaults filled in', () => {
    const topology = defineTopology({
      exchanges: { orders: 'topic', alerts: 'headers' },
      queues: {
        billing: { from: [OrderPlaced], retry: { maxAttempts: 8 } },
        audit: { from: [{ exchange: 'orders', routingKey: 'order.#' }], maxCrashes: 1 },
        pager: { from: [{ exchange: 'alerts', arguments: { headers: { severity: 'high', area: 'eu' } } }] },
        inbox: {},
      },
    })
    expect(topology.exchanges).toEqual([
      { name: 'orders', kind: 'topic' },
      { name: 'alerts', kind: 'headers' },
    ])
    expect(topology.queues).toEqual([
      { name: 'billing', kind: 'standard', retry: { ...DEFAULT_RETRY, maxAttempts: 8 }, maxCrashes: 3 },
      { name: 'audit', kind: 'standard', retry: DEFAULT_RETRY, maxCrashes: 1 },
      { name: 'pager', kind: 'standard', retry: DEFAULT_RETRY, maxCrashes: 3 },
      { name: 'inbox', kind: 'standard', retry: DEFAULT_RETRY, maxCrashes: 3 },
    ])
    const nothing = { routingKey: null, pattern: null, type: null, match: null, arguments: null }
    expect(topology.bindings).toEqual([
      { ...nothing, exchange: 'orders', queue: 'billing', type: 'order.placed' },
      { ...nothing, exchange: 'orders', queue: 'audit', routingKey: 'order.#', pattern: '^order(\\.[^.]*)*$' },
      { ...nothing, exchange: 'alerts', queue: 'pager', match: 'all', arguments: { area: 'eu', severity: 'high' } },
    ])
    expect(topology.limits).toEqual({ payloadBytes: 1_048_576 })
    const { contracts, ...facts } = topology
    expect(JSON.parse(JSON.stringify(facts))).toEqual(facts)
    expect(contracts.map(({ name }) => name)).toEqual(['order.placed'])
  })

  test('brings all messages of a contract, whatever their routing key, also through the default exchange', () => {
    const topology = defineTopology({
      exchanges: { orders: 'topic' },
      queues: { billing: { from: [OrderPlaced, Ping] }, other: {} },
    })
    expect(route(OrderPlaced.create({ country: 'fr' }), topology)).toEqual(['billing'])
    expect(route(Ping.create({}), topology)).toEqual(['billing'])
    expect(route(Ping.create({}, { routingKey: 'other' }), topology)).toEqual(['billing', 'other'])
  })

  test('that takes from an exchange nobody declared is refused, with the one that was meant', () => {
    const dangling = { exchanges: { order: 'topic' }, queues: { billing: { from: [OrderPlaced] } } }
    expect(() => define(dangling)).toThrow(DanglingExchange)
    expect(() => define(dangling)).toThrow(
      'Cannot declare "billing": it takes from exchange "orders", which is not declared; did you mean "order"?',
    )
    const written = { queues: { billing: { from: [{ exchange: 'nowhere', routingKey: 'a' }] } } }
    expect(() => define(written)).toThrow(expect.objectContaining({ code: 'DANGLING_EXCHANGE', exchange: 'nowhere' }))
  })

  test('with a stream says how its readers go about what fails', () => {
    const { queues } = defineTopology({ queues: { ledger: { kind: 'stream', onExhausted: 'hold' } } })
    expect(queues[0]).toMatchObject({
      kind: 'stream',
      stream: { headOfLine: 'park-key', onExhausted: 'hold', onLag: 'hold' },
    })
  })

  test('refuses for a standard queue what is of streams', () => {
    expect(() => defineTopology({ queues: { ledger: { headOfLine: 'skip' } } })).toThrow(/headOfLine is for streams/)
  })

  const bound = (kind: string, binding: object) => ({
    exchanges: { x: kind },
    queues: { q: { from: [{ exchange: 'x', ...binding }] } },
  })

  test.each<[string, object, string]>([
    ['a wildcard inside a word', bound('topic', { routingKey: 'order.*placed' }), 'has "*placed"'],
    ['a routing key for a fanout exchange', bound('fanout', { routingKey: 'a' }), 'a fanout exchange does not look at'],
    [
      'a routing key for a headers exchange',
      bound('headers', { routingKey: 'a' }),
      'a headers exchange does not look at',
    ],
    ['arguments for a topic exchange', bound('topic', { arguments: { headers: { a: 1 } } }), 'has arguments'],
    ['no headers to compare', bound('headers', { arguments: { headers: {} } }), 'no headers to compare'],
    ['a header with NUL', bound('headers', { arguments: { headers: { a: '\0' } } }), 'compares header "a"'],
    ['nothing to compare in a direct exchange', bound('direct', {}), 'neither routingKey nor type'],
    ['a control character in a routing key', bound('direct', { routingKey: 'a\n' }), 'control character'],
    [
      'a routing key for the default exchange',
      { queues: { q: { from: [{ exchange: '', routingKey: 'a' }] } } },
      'default exchange',
    ],
    [
      'the same contract twice',
      { queues: { q: { from: [Ping, Ping] } } },
      'it takes type "ping" from exchange "" twice',
    ],
    ['an exchange without a name', { exchanges: { '': 'topic' }, queues: {} }, 'the name of the exchange is empty'],
    ['a queue name of 256 bytes', { queues: { [`${'é'.repeat(128)}`]: {} } }, 'more than 255 bytes'],
    [
      'two queues that look the same',
      { queues: { 'caf\u00e9': {}, 'cafe\u0301': {} } },
      'another queue has the same name',
    ],
    [
      'delays upside down',
      { queues: { q: { retry: { minMs: 10, maxMs: 5 } } } },
      'retry.minMs 10 is more than retry.maxMs 5',
    ],
    [
      'a list by another name',
      { queues: { q: { retry: { strategy: 'fixed', delaysMs: [1] } } } },
      'exclude each other',
    ],
    ['a list without delays', { queues: { q: { retry: { strategy: 'list' } } } }, 'exclude each other'],
    [
      'a list with a growth',
      { queues: { q: { retry: { factor: 2, delaysMs: [1] } } } },
      'retry.factor and retry.delaysMs',
    ],
    [
      'a growth that nobody looks at',
      { queues: { q: { retry: { strategy: 'linear', factor: 2 } } } },
      'retry.factor is for',
    ],
  ])('with %s is refused', (_, definition, reason) => {
    expect(() => define(definition)).toThrow(InvalidTopology)
    expect(() => define(definition)).toThrow(reason)
  })

  test('with an option nobody reads is refused, wherever it stands', () => {
    expect(() => define({ queues: { q: { retry: { maxAttempt: 3 } } } })).toThrow(
      'Unknown option "queues.q.retry.maxAttempt": did you mean "queues.q.retry.maxAttempts"?',
    )
    expect(() => define({ queue: {}, queues: {} })).toThrow('Unknown option "queue": did you mean "queues"?')
    expect(() => define(bound('topic', { routingkey: 'a' }))).toThrow(UnknownOption)
  })

  test.each([
    ['no attempts at all', { maxAttempts: 0 }],
    ['a billion attempts', { maxAttempts: 1e9 }],
    ['a shrinking delay', { factor: 0.5 }],
    ['no delay', { minMs: 0 }],
    ['NaN', { maxMs: Number.NaN }],
    ['an empty list', { delaysMs: [] }],
    ['a negative delay in a list', { delaysMs: [-1] }],
  ])('with %s is refused', (_, retry) => {
    expect(() => define({ queues: { q: { retry } } })).toThrow(InvalidOption)
  })

  test('with a list of delays makes one attempt more than it has, unless told', () => {
    const { queues } = defineTopology({
      queues: {
        a: { retry: { delaysMs: [5, 10] } },
        b: { retry: { delaysMs: [5], maxAttempts: 9 } },
        c: { retry: { strategy: 'fixed' } },
      },
    })
    expect(queues.map(({ retry }) => [retry.strategy, retry.maxAttempts, retry.jitter])).toEqual([
      ['list', 3, 'none'],
      ['list', 9, 'none'],
      ['fixed', 10, 'none'],
    ])
  })

  test('with a short longest delay starts no later than that', () => {
    const { queues } = defineTopology({ queues: { a: { retry: { maxMs: 10 } }, b: { retry: { minMs: 600_000 } } } })
    expect(queues.map(({ retry }) => [retry.minMs, retry.maxMs])).toEqual([
      [10, 10],
      [600_000, 600_000],
    ])
  })
})
