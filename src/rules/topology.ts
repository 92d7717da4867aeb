import { DanglingExchange, InvalidTopology } from '../errors.ts'
import { type AnyContract, isContract } from './contract.ts'
import { FLOW, type FlowSettings, flowOf } from './flow.ts'
import { stringFlaw } from './json-text.ts'
import { milliseconds, type Parsed, parseOptions, passedThrough, shape, wholeNumber } from './options.ts'
import { DEFAULT_RETRY, MOST_ATTEMPTS, type RetryPolicy } from './retry.ts'
import {
  type Binding,
  EXCHANGE_KINDS,
  type ExchangeKind,
  type HeaderValue,
  patternProblem,
  topicRegex,
} from './route.ts'
import { DEFAULT_LIMITS, type MessageLimits, nameProblem } from './validate.ts'

/** Exchanges, queues and bindings as they are declared: plain facts, names in NFC. `Queue` is the union of the queues' names. */
export interface Topology<Queue extends string = string> {
  readonly exchanges: readonly ExchangeSettings[]
  readonly queues: readonly QueueSettings<Queue>[]
  readonly bindings: readonly Binding[]
  readonly limits: MessageLimits
  /** The contracts it knows by name and version, to be stored for whoever reads them. */
  readonly contracts: readonly AnyContract[]
}

/** An exchange, with every default in it. */
export interface ExchangeSettings {
  readonly name: string
  readonly kind: ExchangeKind
}

/** A queue, with every default in it. */
export interface QueueSettings<Name extends string = string> {
  readonly name: Name
  readonly kind: 'standard' | 'stream'
  readonly retry: RetryPolicy
  readonly maxCrashes: number
  readonly deadLetter?: DeadLetterRoute | undefined
  /** How its deliveries flow; undefined for a plain queue. */
  readonly flow?: FlowSettings | undefined
  readonly newerVersions?: NewerVersions | undefined
  /** Of a stream: how its readers go about what fails, and what becomes of those that lag. */
  readonly stream?: StreamSettings | undefined
}

/** What holds for every group that reads a stream. */
export interface StreamSettings {
  /**
   * What follows a failed attempt, until the message was attempted again with success: `park-key` puts it and what comes later of its
   * key aside, in order, while other keys go on; `block` stops its lane, a 64th of the keys; `skip` puts it aside alone.
   */
  readonly headOfLine: 'park-key' | 'block' | 'skip'
  /** After the last attempt: `release` makes it a dead letter and lets what waits behind go on; `hold` keeps all of it until somebody decides. */
  readonly onExhausted: 'release' | 'hold'
  /** Of a group that has not read what retention would delete: `hold` keeps it, `cut-off` moves the group past it, loudly. */
  readonly onLag: 'hold' | 'cut-off'
}

/** What consumers do with a message whose version is newer than they know. */
export type NewerVersions = 'leave' | 'dead-letter'

export const DEFAULT_NEWER_VERSIONS: NewerVersions = 'leave'

/** Where a copy of what dies goes. */
export interface DeadLetterRoute {
  readonly exchange: string
  /** Null: the message's own. */
  readonly routingKey: string | null
}

/** Exchanges by name and kind, queues by name and what comes to each. */
export interface TopologyDefinition<Exchange extends string = string, Queue extends string = string> {
  /** Exchanges by name. The default exchange, '', is always there. @default none */
  readonly exchanges?: { readonly [Name in Exchange]: ExchangeKind }
  /** Queues by name. */
  readonly queues: { readonly [Name in Queue]: QueueDefinition<NoInfer<Exchange>> }
  /** Contracts that no queue here takes from, such as those this service only publishes: stored with the others. @default none */
  readonly contracts?: readonly AnyContract[]
  readonly limits?: {
    /** Bytes of a payload as JSON, or of a body. @default 1_048_576 */
    readonly payloadBytes?: number
  }
}

/** What a queue takes, and what becomes of what fails in it. Stored in the database: every process and language obeys it. */
export interface QueueDefinition<Exchange extends string = string> extends FlowSettings {
  /**
   * `standard`: each delivery goes to one of the competing consumers. `stream`: any number of groups read the log itself, each in the
   * order of keys, and may read it again. @default 'standard'
   */
  readonly kind?: 'standard' | 'stream'
  /** What comes here: a contract brings all its messages, whatever their routing key. @default only what is sent to the queue by name */
  readonly from?: readonly (AnyContract | BindingDefinition<Exchange>)[]
  /** What follows a failed attempt. @default 10 attempts, from 1 s to 5 min, doubling, with jitter */
  readonly retry?: Partial<RetryPolicy>
  /** So many processes may end while they hold one delivery; the next makes it a dead letter. 1 to 100. @default 3 */
  readonly maxCrashes?: number
  /**
   * Publishes a copy of what dies here, beside the dead letter that is kept: a message of its own, caused by the one that died.
   * Without a routing key it keeps the message's own. @default nowhere
   */
  readonly deadLetter?: { readonly exchange: Exchange | ''; readonly routingKey?: string }
  /**
   * What a consumer does with a message whose version is newer than the contract it was built with, as in a rolling deployment:
   * `leave` puts it back for a second, uncharged, until a newer consumer takes it; `dead-letter` keeps it as `unknown-version`.
   * @default 'leave'
   */
  readonly newerVersions?: NewerVersions
  /** Of a stream: what a message that fails keeps waiting. Messages without a key are refused where keys are parked. @default 'park-key' */
  readonly headOfLine?: StreamSettings['headOfLine']
  /** Of a stream: what becomes of a message after its last attempt. @default 'release' */
  readonly onExhausted?: StreamSettings['onExhausted']
  /** Of a stream: what becomes of a group that has not read what retention would delete. @default 'hold' */
  readonly onLag?: StreamSettings['onLag']
}

/** A binding written out. What is left out is not looked at. */
export interface BindingDefinition<Exchange extends string = string> {
  readonly exchange: Exchange | ''
  /** The routing key (direct), or a pattern of words, `*` and `#` (topic). */
  readonly routingKey?: string
  /** The type of the messages. */
  readonly type?: string
  /** Of a headers exchange: the headers to compare, and whether all or any must be equal. */
  readonly arguments?: { readonly match?: 'all' | 'any'; readonly headers: Readonly<Record<string, HeaderValue>> }
}

export const DEFAULT_MAX_CRASHES = 3

const RETRY = shape((z) =>
  z.strictObject({
    maxAttempts: wholeNumber(1, MOST_ATTEMPTS).optional(),
    minMs: milliseconds(1).optional(),
    maxMs: milliseconds(1).optional(),
    factor: z.number().min(1).max(100).optional(),
    jitter: z.enum(['full', 'none']).optional(),
    strategy: z.enum(['exponential', 'linear', 'fixed', 'list']).optional(),
    delaysMs: z.array(milliseconds(1)).min(1).max(MOST_ATTEMPTS).optional(),
  }),
)

const BINDING = shape((z) =>
  z.strictObject({
    exchange: z.string(),
    routingKey: z.string().optional(),
    type: z.string().optional(),
    arguments: z
      .strictObject({
        match: z.enum(['all', 'any']).optional(),
        headers: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
      })
      .optional(),
  }),
)

const QUEUE = shape((z) =>
  z.strictObject({
    kind: z.enum(['standard', 'stream']).optional(),
    from: z.array(passedThrough<unknown>()).optional(),
    retry: RETRY().optional(),
    maxCrashes: wholeNumber(1, 100).optional(),
    deadLetter: z.strictObject({ exchange: z.string(), routingKey: z.string().optional() }).optional(),
    ...FLOW().shape,
    newerVersions: z.enum(['leave', 'dead-letter']).optional(),
    headOfLine: z.enum(['park-key', 'block', 'skip']).optional(),
    onExhausted: z.enum(['release', 'hold']).optional(),
    onLag: z.enum(['hold', 'cut-off']).optional(),
  }),
)

const DEFINITION = shape((z) =>
  z.strictObject({
    exchanges: z.record(z.string(), z.enum(EXCHANGE_KINDS)).optional(),
    queues: z.record(z.string(), QUEUE()),
    contracts: z.array(z.custom<AnyContract>(isContract, 'it is no contract; make it with defineMessage')).optional(),
    limits: z.strictObject({ payloadBytes: wholeNumber(1, 268_435_455).optional() }).optional(),
  }),
)

type ParsedQueue = Parsed<typeof QUEUE>
type ParsedBinding = Parsed<typeof BINDING>

/**
 * Says which queues there are and what comes to each; a name that nothing stands behind is refused here, and a queue's name
 * is checked by the compiler wherever it is used.
 *
 * ```ts
 * export const topology = defineTopology({
 *   exchanges: { orders: 'topic' },
 *   queues: {
 *     billing: { from: [OrderPlaced], retry: { maxAttempts: 8 } },
 *     audit: { from: [{ exchange: 'orders', routingKey: 'order.#' }] },
 *   },
 * })
 * ```
 */
export function defineTopology<const Queue extends string, const Exchange extends string = never>(
  definition: TopologyDefinition<Exchange, Queue>,
): Topology<Queue> {
  refuseProto(definition.queues, 'queue')
  refuseProto(definition.exchanges, 'exchange')
  const { exchanges: kinds = {}, queues: definitions, contracts = [], limits } = parseOptions(DEFINITION, definition)
  const exchanges = Object.entries(kinds).map(([name, kind]) => ({ name: named(name, 'exchange'), kind }))
  const queues = Object.entries(definitions).map(([name, queue]) => queueOf(named(name, 'queue') as Queue, queue))
  refuseTwins(exchanges, 'exchange')
  refuseTwins(queues, 'queue')

  const kindOf = new Map<string, ExchangeKind | 'default'>([['', 'default']])
  for (const { name, kind } of exchanges) kindOf.set(name, kind)
  for (const { name, deadLetter } of queues)
    if (deadLetter && !kindOf.has(deadLetter.exchange))
      throw new DanglingExchange(deadLetter.exchange, name, kindOf.keys())
  const bindings = Object.entries(definitions).flatMap(([name, queue]) =>
    bindingsOf(name.normalize('NFC'), queue, kindOf),
  )

  return Object.freeze({
    exchanges,
    queues,
    bindings,
    limits: { payloadBytes: limits?.payloadBytes ?? DEFAULT_LIMITS.payloadBytes },
    contracts: [...new Set([...Object.values(definitions).flatMap(contractsOf), ...contracts])],
  })
}

function contractsOf({ from = [] }: ParsedQueue): AnyContract[] {
  return from.filter(isContract)
}

// Objects with such a key lose it on their way.
function refuseProto(named: object | undefined, what: string): void {
  if (Object.hasOwn(named ?? {}, '__proto__'))
    throw new InvalidTopology('__proto__', `the name of the ${what} is one that JavaScript keeps for itself`)
}

function named(name: string, what: string): string {
  const problem = nameProblem(name)
  if (problem !== undefined) throw new InvalidTopology(name, `the name of the ${what} ${problem}`)
  return name.normalize('NFC')
}

function refuseTwins(named: readonly { readonly name: string }[], what: string): void {
  const seen = new Set<string>()
  for (const { name } of named) {
    if (seen.has(name))
      throw new InvalidTopology(name, `another ${what} has the same name, written with other code points`)
    seen.add(name)
  }
}

function queueOf<Name extends string>(name: Name, queue: ParsedQueue): QueueSettings<Name> {
  const { kind = 'standard', retry, maxCrashes, deadLetter, newerVersions, from: _, ...given } = queue
  const flow = flowOf(name, given as FlowSettings)
  if (flow && kind === 'stream')
    throw new InvalidTopology(name, `${Object.keys(flow)[0]} is for standard queues, and it is a stream`)
  return {
    name,
    kind,
    retry: retryOf(name, retry),
    maxCrashes: maxCrashes ?? DEFAULT_MAX_CRASHES,
    ...(deadLetter && { deadLetter: onwardOf(name, deadLetter) }),
    ...(flow && { flow }),
    ...(newerVersions && { newerVersions }),
    ...streamOf(name, kind, queue),
  }
}

export const DEFAULT_STREAM: StreamSettings = Object.freeze({
  headOfLine: 'park-key',
  onExhausted: 'release',
  onLag: 'hold',
})

const STREAM_OPTIONS = ['headOfLine', 'onExhausted', 'onLag'] as const

function streamOf(name: string, kind: 'standard' | 'stream', queue: ParsedQueue): { stream?: StreamSettings } {
  const given = STREAM_OPTIONS.filter((option) => queue[option] !== undefined)
  if (kind === 'standard') {
    if (given[0]) throw new InvalidTopology(name, `${given[0]} is for streams (kind: 'stream')`)
    return {}
  }
  return { stream: { ...DEFAULT_STREAM, ...Object.fromEntries(given.map((option) => [option, queue[option]])) } }
}

function onwardOf(queue: string, { exchange, routingKey }: NonNullable<ParsedQueue['deadLetter']>): DeadLetterRoute {
  const problem = routingKey ? nameProblem(routingKey) : undefined
  if (problem !== undefined) throw new InvalidTopology(queue, `deadLetter.routingKey ${problem}`)
  return { exchange: exchange.normalize('NFC'), routingKey: routingKey?.normalize('NFC') ?? null }
}

function retryOf(queue: string, given: ParsedQueue['retry'] = {}): RetryPolicy {
  const { strategy = given.delaysMs ? 'list' : 'exponential' } = given
  if ((strategy === 'list') !== (given.delaysMs !== undefined))
    throw new InvalidTopology(queue, `retry.delaysMs and retry.strategy "${strategy}" exclude each other`)
  if (given.delaysMs) return listOf(queue, given, given.delaysMs)
  if (given.factor !== undefined && strategy !== 'exponential')
    throw new InvalidTopology(queue, `retry.factor is for the exponential strategy, not for "${strategy}"`)
  const minMs = given.minMs ?? Math.min(DEFAULT_RETRY.minMs, given.maxMs ?? DEFAULT_RETRY.minMs)
  const maxMs = given.maxMs ?? Math.max(DEFAULT_RETRY.maxMs, minMs)
  if (minMs > maxMs) throw new InvalidTopology(queue, `retry.minMs ${minMs} is more than retry.maxMs ${maxMs}`)
  return {
    maxAttempts: given.maxAttempts ?? DEFAULT_RETRY.maxAttempts,
    strategy,
    minMs,
    maxMs,
    factor: given.factor ?? DEFAULT_RETRY.factor,
    jitter: given.jitter ?? (strategy === 'fixed' ? 'none' : DEFAULT_RETRY.jitter),
  }
}

function listOf(queue: string, given: NonNullable<ParsedQueue['retry']>, delaysMs: readonly number[]): RetryPolicy {
  const idle = (['minMs', 'maxMs', 'factor'] as const).find((name) => given[name] !== undefined)
  if (idle) throw new InvalidTopology(queue, `retry.${idle} and retry.delaysMs exclude each other`)
  return {
    maxAttempts: given.maxAttempts ?? Math.min(delaysMs.length + 1, MOST_ATTEMPTS),
    strategy: 'list',
    minMs: Math.min(...delaysMs),
    maxMs: Math.max(...delaysMs),
    factor: 1,
    jitter: given.jitter ?? 'none',
    delaysMs,
  }
}

type Kinds = ReadonlyMap<string, ExchangeKind | 'default'>

function bindingsOf(queue: string, { from = [] }: ParsedQueue, kinds: Kinds): Binding[] {
  const bindings = from.map((source) =>
    isContract(source) ? ofContract(queue, source) : ofDefinition(queue, source, kinds),
  )
  const seen = new Set<string>()
  for (const binding of bindings) {
    if (!kinds.has(binding.exchange)) throw new DanglingExchange(binding.exchange, queue, kinds.keys())
    const text = JSON.stringify(binding)
    if (seen.has(text)) throw new InvalidTopology(queue, `it takes ${toldOf(binding)} twice`)
    seen.add(text)
  }
  return bindings
}

function ofContract(queue: string, { exchange, name }: AnyContract): Binding {
  return { exchange, queue, routingKey: null, pattern: null, type: name, match: null, arguments: null }
}

function ofDefinition(queue: string, source: unknown, kinds: Kinds): Binding {
  const given = parseOptions(BINDING, source)
  const exchange = given.exchange.normalize('NFC')
  const kind = kinds.get(exchange)
  if (kind === undefined) throw new DanglingExchange(exchange, queue, kinds.keys())
  const problem = bindingProblem(given, kind)
  if (problem !== undefined) throw new InvalidTopology(queue, `its binding to exchange "${exchange}" ${problem}`)
  return {
    exchange,
    queue,
    routingKey: given.routingKey?.normalize('NFC') ?? null,
    pattern: kind === 'topic' && given.routingKey !== undefined ? topicRegex(given.routingKey.normalize('NFC')) : null,
    type: given.type?.normalize('NFC') ?? null,
    match: given.arguments ? (given.arguments.match ?? 'all') : null,
    arguments: given.arguments ? sorted(given.arguments.headers) : null,
  }
}

function bindingProblem(binding: ParsedBinding, kind: ExchangeKind | 'default'): string | undefined {
  return namesProblem(binding) ?? argumentsProblem(binding, kind) ?? routingKeyProblem(binding, kind)
}

function namesProblem({ routingKey, type }: ParsedBinding): string | undefined {
  const key = routingKey ? nameProblem(routingKey) : undefined
  if (key !== undefined) return `has a routingKey that ${key}`
  const name = type === undefined ? undefined : nameProblem(type)
  return name === undefined ? undefined : `has a type that ${name}`
}

function argumentsProblem({ arguments: wanted }: ParsedBinding, kind: ExchangeKind | 'default'): string | undefined {
  if (wanted === undefined) return undefined
  if (kind !== 'headers') return `has arguments, which a ${kind} exchange does not look at`
  const headers = Object.entries(wanted.headers)
  if (headers.length === 0) return 'has no headers to compare; leave arguments out to take all'
  const wrong = headers.find(([name, value]) => nameProblem(name) ?? stringFlaw(String(value)))
  return wrong && `compares header ${JSON.stringify(wrong[0])}, whose name or value Postgres cannot store`
}

function routingKeyProblem({ routingKey, type }: ParsedBinding, kind: ExchangeKind | 'default'): string | undefined {
  if (routingKey === undefined) {
    const idle = type === undefined && (kind === 'direct' || kind === 'default')
    return idle ? `has neither routingKey nor type, and a ${kind} exchange sends nothing to all` : undefined
  }
  if (kind === 'default') {
    return 'has a routingKey; the default exchange goes to the queue of that name, and binds by type alone'
  }
  if (kind !== 'direct' && kind !== 'topic') return `has a routingKey, which a ${kind} exchange does not look at`
  const problem = kind === 'topic' ? patternProblem(routingKey) : undefined
  return problem && `has a routingKey that ${problem}`
}

function sorted<Value>(record: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function toldOf({ exchange, routingKey, type }: Binding): string {
  const parts = [
    type === null ? '' : `type "${type}"`,
    routingKey === null ? '' : `routing key "${routingKey}"`,
  ].filter(Boolean)
  return `${parts.join(' and ') || 'everything'} from exchange "${exchange}"`
}
