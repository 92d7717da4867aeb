import { InvalidTopology } from '../errors.ts'
import { milliseconds, shape, wholeNumber } from './options.ts'

/** How the deliveries of a queue flow. Stored with the queue, so that every process and every language obeys it. */
export interface FlowSettings {
  /**
   * How long a delivery may wait and be retried, in milliseconds from its publishing, or from the time it was delayed to; then it
   * expires when it is claimed. A message's own `expiresInMs` may end it sooner. @default for ever
   */
  readonly ttlMs?: number
  /** What becomes of a delivery that has expired: counted and gone, or a dead letter `expired`. @default 'drop' */
  readonly expired?: 'drop' | 'dead-letter'
  /**
   * How many bytes of payloads one claim or lease brings at most, and a consumer holds in hand; one message is always brought,
   * however large. 1,024 to 1 GB. @default 16_777_216
   */
  readonly maxBatchBytes?: number
  /** How many deliveries it has at most: those that have not ended, delayed ones and those in hand among them. @default no limit */
  readonly maxLength?: number
  /** How many bytes of payloads its ready deliveries have at most, from 1,024. @default no limit */
  readonly maxBytes?: number
  /**
   * What becomes of what is too much: the oldest of the least urgent are dead letters `overflow`, or are dropped and counted as
   * discarded, when more comes; or `publish` throws `QueueFull` before anything is sent. @default 'dead-letter'
   */
  readonly overflow?: 'dead-letter' | 'drop-head' | 'reject-publish'
  /** How many of its deliveries are attempted at the same time, over all processes. 1 to 10,000. @default as many as consumers can */
  readonly maxConcurrency?: number
  /**
   * How many deliveries of one key are attempted at the same time, over all processes; messages without a key are not limited.
   * The queue is then claimed key by key. 1 to 1,000. @default as many as consumers can
   */
  readonly maxConcurrencyPerKey?: number
  /** In no `perMs` milliseconds are more than `messages` deliveries claimed, over all processes. @default no limit */
  readonly rateLimit?: RateLimit
  /**
   * Keys have their turns one after the other, so that none starves however much another has waiting; inside a key the most urgent
   * and oldest comes first. A key of weight 3 gets three deliveries to another's one. @default first in, first out, over all keys
   */
  readonly fair?: true | { readonly weights: Readonly<Record<string, number>> }
  /** Stops the consumption of the queue while all it does is fail, and uses no attempts meanwhile. @default never */
  readonly breaker?: BreakerRule
}

/** When a queue that does nothing but fail closes by itself, and for how long. */
export interface BreakerRule {
  /** Opens after so many failed attempts one after the other, over all processes. 1 to 1,000. */
  readonly failures: number
  /** How long it stays open before one delivery is tried, in milliseconds: 100 to a day. @default 30_000 */
  readonly openMs?: number
  /** After each try that fails it stays open for twice as long, and so long at most. @default 300_000, or `openMs` if that is more */
  readonly maxOpenMs?: number
}

/** How many deliveries of a queue may begin in how long. */
export interface RateLimit {
  /** 1 to 1,000,000. */
  readonly messages: number
  /** From 100 milliseconds to a day. */
  readonly perMs: number
}

export const DEFAULT_BATCH_BYTES = 16_777_216

const DAY_MS = 86_400_000

/** The fields of a queue's definition that say how it flows. */
export const FLOW = shape((z) =>
  z.strictObject({
    ttlMs: milliseconds(1).optional(),
    expired: z.enum(['drop', 'dead-letter']).optional(),
    maxBatchBytes: wholeNumber(1_024, 1_073_741_824).optional(),
    maxLength: wholeNumber(1, 1_000_000_000).optional(),
    maxBytes: wholeNumber(1_024, 1_099_511_627_776).optional(),
    overflow: z.enum(['dead-letter', 'drop-head', 'reject-publish']).optional(),
    maxConcurrency: wholeNumber(1, 10_000).optional(),
    maxConcurrencyPerKey: wholeNumber(1, 1_000).optional(),
    rateLimit: z.strictObject({ messages: wholeNumber(1, 1_000_000), perMs: z.int().min(100).max(DAY_MS) }).optional(),
    breaker: z
      .strictObject({
        failures: wholeNumber(1, 1_000),
        openMs: z.int().min(100).max(DAY_MS).optional(),
        maxOpenMs: z.int().min(100).max(DAY_MS).optional(),
      })
      .optional(),
    fair: z
      .union([z.literal(true), z.strictObject({ weights: z.record(z.string().min(1), wholeNumber(1, 100)) })])
      .optional(),
  }),
)

function fields(): (keyof FlowSettings)[] {
  return Object.keys(FLOW().shape) as (keyof FlowSettings)[]
}

/** What of a definition is said about the flow; undefined for a plain queue. Contradictions are an `InvalidTopology`. */
export function flowOf(queue: string, given: FlowSettings): FlowSettings | undefined {
  const problem = contradiction(given)
  if (problem !== undefined) throw new InvalidTopology(queue, problem)
  const said = fields().filter((field) => given[field] !== undefined)
  if (said.length === 0) return undefined
  const flow: FlowSettings = Object.fromEntries(said.map((field) => [field, given[field]]))
  return flow.breaker ? { ...flow, breaker: wholeRule(flow.breaker) } : flow
}

function wholeRule({ failures, openMs = 30_000, maxOpenMs = Math.max(300_000, openMs) }: BreakerRule): BreakerRule {
  return { failures, openMs, maxOpenMs }
}

/** Each field, null where nothing is said: to be compared. */
export function everyField(flow: FlowSettings | undefined): Record<string, unknown> {
  return Object.fromEntries(fields().map((field) => [field, flow?.[field] ?? null]))
}

function contradiction({ maxLength, maxBytes, overflow, ...flow }: FlowSettings): string | undefined {
  if (overflow !== undefined && maxLength === undefined && maxBytes === undefined)
    return `overflow "${overflow}" is for a queue with maxLength or maxBytes, and it has neither`
  return limitsContradiction(flow)
}

function limitsContradiction({
  maxConcurrency,
  maxConcurrencyPerKey,
  fair,
  breaker,
}: FlowSettings): string | undefined {
  if (maxConcurrency !== undefined && maxConcurrencyPerKey !== undefined && maxConcurrencyPerKey > maxConcurrency)
    return `maxConcurrencyPerKey ${maxConcurrencyPerKey} is more than maxConcurrency ${maxConcurrency}`
  if (typeof fair === 'object' && Object.keys(fair.weights).length === 0)
    return 'fair.weights names no key; say fair: true for equal weights'
  if (breaker?.maxOpenMs !== undefined && breaker.maxOpenMs < (breaker.openMs ?? 30_000))
    return `breaker.maxOpenMs ${breaker.maxOpenMs} is less than breaker.openMs ${breaker.openMs ?? 30_000}`
  return undefined
}
