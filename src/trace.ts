import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { InvalidOption } from './errors.ts'
import { causedBy, trace as traceOf } from './postgres/trace.ts'
import type { AttemptError } from './rules/error-summary.ts'
import { parseOptions, shape, wholeNumber } from './rules/options.ts'

/** What became of a message. */
export interface Trace {
  readonly id: string
  /** What was published; null when the log holds it no more, or never did. */
  readonly message: TracedMessage | null
  /** Whether a relay has routed it. */
  readonly routed: boolean
  readonly deliveries: readonly TracedDelivery[]
  /** Whose effect of it is committed, and when: queues, and consumers of `inbox`. */
  readonly processed: readonly { readonly consumer: string; readonly at: Date }[]
  /** The operations on the outside that its handlers ran, as the effect ledger has them. */
  readonly effects: readonly TracedEffect[]
  /** What was published because of it, and what became of that; null where it was not looked for, at the depth asked for. */
  readonly children: readonly Trace[] | null
  /** Until when the log was read for what it caused: two million messages at most. Null: to its end. */
  readonly searchedUntil: Date | null
}

/** What was published, without its content. */
export interface TracedMessage {
  readonly exchange: string
  readonly routingKey: string
  readonly type: string
  readonly version: number
  readonly key: string | null
  readonly priority: number
  readonly correlationId: string | null
  readonly causationId: string | null
  readonly publishedAt: Date
  readonly deliverAt: Date | null
  readonly expiresAt: Date | null
  /** Its payload was erased. */
  readonly erased: boolean
}

/** What became of a message in one queue. */
export interface TracedDelivery {
  readonly queue: string
  /**
   * Where it is: `unrouted`, `ready`, `scheduled` (due `at`), `leased` (until `at`), `dead` (since `at`), `processed` (`at`); or
   * `ended`, of which there is no record of its own: completed under a lease, discarded, expired, purged, or just being handled.
   */
  readonly state: 'unrouted' | 'ready' | 'scheduled' | 'leased' | 'dead' | 'processed' | 'ended'
  readonly attempts: number | null
  readonly crashes: number | null
  readonly at: Date | null
  readonly reason: string | null
  /** Attempts that failed, and what was done by hand, oldest first. */
  readonly history: readonly AttemptError[]
}

/** An operation of the effect ledger that a handler of the message ran. */
export interface TracedEffect {
  readonly operation: string
  readonly state: 'started' | 'succeeded' | 'failed' | 'unknown' | 'needs_review'
  readonly provider: string | null
  /** How often the provider was called. */
  readonly calls: number
  readonly reason: string | null
  readonly startedAt: Date
  readonly endedAt: Date | null
}

/** How far a trace follows. */
export interface TraceOptions {
  /** How deep to follow what was published because of it: 0 to 10. @default 3 */
  readonly depth?: number
}

const OPTIONS = shape((z) => z.strictObject({ depth: wholeNumber(0, 10).default(3) }))
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

// A conversation that branches without end is cut, and so is the search for it.
const MOST_MESSAGES = 1_000
const SPAN = 2_000_000

/** Follows a message and what it caused; undefined when nothing is known of this id. */
export async function trace(
  context: Context,
  messageId: string,
  options: TraceOptions = {},
): Promise<Trace | undefined> {
  const { depth } = parseOptions(OPTIONS, options)
  if (!UUID.test(messageId)) throw new InvalidOption('messageId', 'it is not a uuid')
  const found = await lookAt(context, messageId.toLowerCase())
  if (found.message === null && found.deliveries.length + found.processed.length === 0) return undefined
  if (depth === 0) return { ...found, children: null, searchedUntil: null }
  const { id } = found
  const correlationId = found.message?.correlationId ?? id
  const facts = { id, correlationId, span: SPAN, limit: MOST_MESSAGES }
  const caused = await ask(context, causedBy(context.tables, facts))
  const searchedUntil = caused.at(-1)?.searchedUntil ?? null
  const byCause = Map.groupBy(
    caused.filter(({ id: each }) => each !== null),
    ({ causationId }) => causationId,
  )
  const follow = async (one: Looked, deep: number): Promise<Trace> => {
    if (deep === 0) return { ...one, children: null, searchedUntil }
    const children: Trace[] = []
    for (const child of byCause.get(one.id) ?? [])
      children.push(await follow(await lookAt(context, child.id!), deep - 1))
    return { ...one, children, searchedUntil }
  }
  return await follow(found, depth)
}

type Looked = Omit<Trace, 'children' | 'searchedUntil'>

async function lookAt(context: Context, id: string): Promise<Looked> {
  const [row] = await ask(context, traceOf(context.tables, id))
  return JSON.parse(row!.trace, withDates)
}

// Times of an attempt stay texts, as everywhere.
function withDates(this: unknown, key: string, value: unknown): unknown {
  const time = /^(publishedAt|deliverAt|expiresAt|startedAt|endedAt)$/.test(key) || (key === 'at' && !isAttempt(this))
  return time && typeof value === 'string' ? new Date(value) : value
}

function isAttempt(holder: unknown): boolean {
  return typeof holder === 'object' && holder !== null && 'message' in holder
}
