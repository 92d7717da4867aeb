import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Binding, patternProblem, route, topicMatches, topicRegex } from '../../src/rules/route.ts'

const words = (...alphabet: string[]) =>
  fc.array(fc.constantFrom(...alphabet), { maxLength: 6 }).map((parts) => parts.join('.'))
const pattern = words('a', 'b', '', '*', '#', '#', 'a+b', 'ü')
const routingKey = words('a', 'b', '', 'c', 'a+b', 'aab', 'ü', '*')

/** What the words of AMQP say, with no cleverness: every way to share the key out among the words of the pattern. */
function matchesByDefinition(wanted: readonly string[], given: readonly string[]): boolean {
  const [first, ...rest] = wanted
  if (first === undefined) return given.length === 0
  if (first === '#') {
    return matchesByDefinition(rest, given) || (given.length > 0 && matchesByDefinition(wanted, given.slice(1)))
  }
  return given.length > 0 && (first === '*' || first === given[0]) && matchesByDefinition(rest, given.slice(1))
}
const wordsOf = (key: string) => (key === '' ? [] : key.split('.'))

describe('topic patterns', () => {
  test('match what AMQP says they match', () => {
    fc.assert(
      fc.property(pattern, routingKey, (wanted, key) => {
        expect(topicMatches(wanted, key)).toBe(matchesByDefinition(wordsOf(wanted), wordsOf(key)))
      }),
      { numRuns: 5_000 },
    )
  })

  test('as a regular expression match the same keys', () => {
    fc.assert(
      fc.property(pattern, routingKey, (wanted, key) => {
        expect(new RegExp(topicRegex(wanted)).test(key)).toBe(topicMatches(wanted, key))
      }),
      { numRuns: 5_000 },
    )
  })

  test.each([
    ['order.*', 'order.placed', true],
    ['order.*', 'order', false],
    ['order.*', 'order.placed.de', false],
    ['order.#', 'order', true],
    ['order.#', 'order.placed.de', true],
    ['order.#', 'orders.placed', false],
    ['#', '', true],
    ['*', '', false],
    ['', '', true],
    ['', 'a', false],
    ['#.error', 'error', true],
    ['#.error', 'a.b.error', true],
    ['#.error', 'a.b.terror', false],
    ['*.#.*', 'a', false],
    ['*.#.*', 'a.b', true],
    ['a.b', 'aXb', false],
  ])('%j and %j: %j', (wanted, key, expected) => {
    expect(topicMatches(wanted, key)).toBe(expected)
    expect(new RegExp(topicRegex(wanted)).test(key)).toBe(expected)
  })

  test('with a wildcard inside a word are refused', () => {
    expect(patternProblem('order.*placed')).toBe('has "*placed", where * and # stand for whole words')
    expect(patternProblem('order.*.#')).toBeUndefined()
  })

  test('full of wildcards are matched in time that does not explode', () => {
    const hostile = Array(60).fill('#.a').join('.')
    expect(topicMatches(hostile, `${'a.'.repeat(120)}b`)).toBe(false)
  })
})

describe('route', () => {
  const exchanges = [
    { name: 'direct', kind: 'direct' },
    { name: 'fanout', kind: 'fanout' },
    { name: 'topic', kind: 'topic' },
    { name: 'headers', kind: 'headers' },
  ] as const
  const queues = [{ name: 'one' }, { name: 'two' }, { name: 'three' }]
  const binding = (exchange: string, queue: string, more: Partial<Binding> = {}): Binding => ({
    exchange,
    queue,
    routingKey: null,
    pattern: null,
    type: null,
    match: null,
    arguments: null,
    ...more,
  })
  const routed = (
    bindings: Binding[],
    message: { exchange: string; routingKey?: string; type?: string; headers?: object },
  ) =>
    route({ routingKey: '', type: 't', ...message, headers: { ...message.headers } }, { exchanges, queues, bindings })

  test('a direct exchange compares the routing key as it is', () => {
    const bindings = [binding('direct', 'one', { routingKey: 'a' }), binding('direct', 'two', { routingKey: 'a.b' })]
    expect(routed(bindings, { exchange: 'direct', routingKey: 'a' })).toEqual(['one'])
    expect(routed(bindings, { exchange: 'direct', routingKey: 'b' })).toEqual([])
  })

  test('a fanout exchange sends to every queue bound, each once', () => {
    const bindings = [binding('fanout', 'two'), binding('fanout', 'one'), binding('fanout', 'one', { type: 't' })]
    expect(routed(bindings, { exchange: 'fanout', routingKey: 'whatever' })).toEqual(['one', 'two'])
  })

  test('a topic exchange compares words', () => {
    const bindings = [binding('topic', 'one', { routingKey: 'order.*' }), binding('topic', 'two', { routingKey: '#' })]
    expect(routed(bindings, { exchange: 'topic', routingKey: 'order.placed' })).toEqual(['one', 'two'])
    expect(routed(bindings, { exchange: 'topic', routingKey: 'order.placed.de' })).toEqual(['two'])
  })

  test('a headers exchange wants all, or any', () => {
    const bindings = [
      binding('headers', 'one', { match: 'all', arguments: { country: 'DE', vip: true } }),
      binding('headers', 'two', { match: 'any', arguments: { country: 'DE', vip: true } }),
    ]
    expect(routed(bindings, { exchange: 'headers', headers: { country: 'DE', vip: true } })).toEqual(['one', 'two'])
    expect(routed(bindings, { exchange: 'headers', headers: { country: 'DE', vip: 'true' } })).toEqual(['two'])
    expect(routed(bindings, { exchange: 'headers', headers: { country: 'FR' } })).toEqual([])
  })

  test('headers are compared with the message, not with what every object inherits', () => {
    const bindings = [binding('headers', 'one', { match: 'any', arguments: { constructor: 'x', toString: 'y' } })]
    expect(routed(bindings, { exchange: 'headers' })).toEqual([])
  })

  test('the default exchange goes to the queue of that name, and to those bound by type', () => {
    const bindings = [binding('', 'three', { type: 'order.placed' })]
    expect(routed(bindings, { exchange: '', routingKey: 'two' })).toEqual(['two'])
    expect(routed(bindings, { exchange: '', routingKey: 'order.placed', type: 'order.placed' })).toEqual(['three'])
    expect(routed(bindings, { exchange: '', routingKey: 'three', type: 'order.placed' })).toEqual(['three'])
    expect(routed(bindings, { exchange: '', routingKey: 'nowhere' })).toEqual([])
  })

  test('a type and a routing key must both match', () => {
    const bindings = [binding('topic', 'one', { routingKey: 'order.#', type: 'order.placed' })]
    expect(routed(bindings, { exchange: 'topic', routingKey: 'order.x', type: 'order.placed' })).toEqual(['one'])
    expect(routed(bindings, { exchange: 'topic', routingKey: 'order.x', type: 'order.paid' })).toEqual([])
    expect(routed(bindings, { exchange: 'topic', routingKey: 'x', type: 'order.placed' })).toEqual([])
  })
})
