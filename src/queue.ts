import { z } from 'zod'
import { ask } from './ask.ts'
import type { Drained } from './consumer/draining.ts'
import type { Context } from './context.ts'
import { DeadLetters } from './dead-letters.ts'
import type { Claimed } from './postgres/claim.ts'
import { peek } from './postgres/peek.ts'
import { queueStatus } from './postgres/status.ts'
import { type DeliveriesOptions, Pull, type PulledDelivery, type PullPlace, type ReceiveOptions } from './queue/pull.ts'
import { numberOf } from './queue-number.ts'
import type { AttemptError } from './rules/error-summary.ts'
import { milliseconds, parseOptions, wholeNumber } from './rules/options.ts'
import type { QueueStatus } from './status.ts'

export interface PeekOptions {
  /** How many deliveries to look at, 1 to 1,000. @default 10 */
  readonly limit?: number
}

const DEFAULTS = Object.freeze({ limit: 10 })

const PEEK = z.strictObject({ limit: wholeNumber(1, 1_000).default(DEFAULTS.limit) })

/** A delivery that waits to be claimed. What comes of its message is null when the log holds it no more. */
export interface PeekedDelivery {
  readonly messageId: string
  readonly priority: number
  /** Attempts that have failed. */
  readonly attempts: number
  readonly crashes: number
  readonly errors: readonly AttemptError[]
  readonly exchange: string | null
  readonly routingKey: string | null
  readonly type: string | null
  readonly version: number | null
  readonly key: string | null
  readonly correlationId: string | null
  readonly causationId: string | null
  readonly headers: Readonly<Record<string, unknown>>
  /** Undefined when the message has a body. */
  readonly payload: unknown
  readonly body: Uint8Array | undefined
  readonly contentType: string | null
  readonly publishedAt: Date | null
  /** Past its time: it will not be attempted. */
  readonly expired: boolean
}

export interface DrainOptions {
  /** How many deliveries to claim at most. @default 1_000 */
  readonly maxMessages?: number
  /** When to end, in milliseconds from now. @default 20_000 */
  readonly deadlineMs?: number
}

const DRAIN = z.strictObject({
  maxMessages: wholeNumber(1, 1_000_000).default(1_000),
  deadlineMs: milliseconds(1).default(20_000),
})

export interface QueuePlace<Tx> extends PullPlace<Tx> {
  drain(queue: string, options: Required<DrainOptions>): Promise<Drained>
}

/**
 * One queue, seen from outside.
 *
 * ```ts
 * const { depth, oldestMs } = await posthaste.queue('billing').status()
 * ```
 */
export class Queue<Tx = unknown> {
  readonly name: string
  /** The dead letters of this queue. */
  readonly deadLetters: DeadLetters
  readonly #context: Context
  readonly #pull: Pull<Tx>
  readonly #drain: QueuePlace<Tx>['drain']

  constructor(place: QueuePlace<Tx>, name: string) {
    const { context, wakeRelay, drain } = place
    this.name = name
    this.deadLetters = new DeadLetters(context as Context, { queue: name, wakeRelay })
    this.#context = context as Context
    this.#pull = new Pull(place, name)
    this.#drain = drain
  }

  /**
   * Takes up to `max` deliveries now, or as soon as there is one, for as long as `waitMs`. Each is yours for `leaseMs`, and its
   * attempt is counted; settle it with its own `complete`, `retry`, `deadLetter` or `discard`.
   *
   * ```ts
   * for (const delivery of await posthaste.queue('billing').receive({ max: 10, waitMs: 5_000 })) {
   *   await delivery.complete(async (tx) => charge(tx, delivery.payload))
   * }
   * ```
   */
  receive(options?: ReceiveOptions): Promise<PulledDelivery<Tx>[]> {
    return this.#pull.receive(options)
  }

  /**
   * Deliveries one after the other, endlessly, until the signal fires or you leave the loop; what was leased and not handed out
   * goes back uncharged.
   *
   * ```ts
   * for await (const delivery of posthaste.queue('billing').deliveries({ leaseMs: 60_000, signal })) …
   * ```
   */
  deliveries(options?: DeliveriesOptions): AsyncGenerator<PulledDelivery<Tx>, void, undefined> {
    return this.#pull.deliveries(options)
  }

  /**
   * Works off what is there with the handlers of this process' consumer of the queue, and ends: for functions that are started
   * and frozen from outside. It needs no `start()`; it routes, takes back lapsed leases and does a round of upkeep on the way, and
   * leaves no timer. At the deadline nothing new is begun, signals fire, and what still runs a second later is rolled back.
   *
   * ```ts
   * export const handler = () => posthaste.queue('billing').drain({ maxMessages: 500, deadlineMs: 20_000 })
   * ```
   */
  async drain(options: DrainOptions = {}): Promise<Drained> {
    return await this.#drain(this.name, parseOptions(DRAIN, options))
  }

  /** How it stands. The depth is read from the counts, so it costs the same for ten deliveries and for ten million. */
  async status(): Promise<QueueStatus> {
    const [found] = await ask(this.#context, queueStatus(this.#context.tables, this.name))
    if (!found) await numberOf(this.#context, this.name)
    return found!
  }

  /** The deliveries that are next in line, with their messages; changes nothing. Some may be in a consumer's hands already. */
  async peek(options: PeekOptions = {}): Promise<PeekedDelivery[]> {
    const { limit } = parseOptions(PEEK, options)
    const queue = await numberOf(this.#context, this.name)
    const next = await ask(this.#context, peek(this.#context.tables, { queue, limit }))
    return next.map(peeked)
  }
}

function peeked({ messageId, priority, attempts, crashes, history, expired, body }: Claimed): PeekedDelivery {
  return {
    messageId,
    priority: 9 - priority,
    attempts,
    crashes,
    errors: history,
    exchange: body?.exchange ?? null,
    routingKey: body?.routingKey ?? null,
    type: body?.type ?? null,
    version: body?.version ?? null,
    key: body?.key ?? null,
    correlationId: body?.correlationId ?? null,
    causationId: body?.causationId ?? null,
    headers: body?.headers ? JSON.parse(body.headers) : {},
    payload: body?.payload ? JSON.parse(body.payload) : undefined,
    body: body?.bytes ?? undefined,
    contentType: body?.contentType ?? null,
    publishedAt: body?.publishedAt ?? null,
    expired,
  }
}
