import { z } from 'zod'
import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { DeadLetters } from './dead-letters.ts'
import type { Claimed } from './postgres/claim.ts'
import { peek } from './postgres/peek.ts'
import { queueStatus } from './postgres/status.ts'
import { numberOf } from './queue-number.ts'
import type { AttemptError } from './rules/error-summary.ts'
import { parseOptions, wholeNumber } from './rules/options.ts'
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

/**
 * One queue, seen from outside.
 *
 * ```ts
 * const { depth, oldestMs } = await posthaste.queue('billing').status()
 * ```
 */
export class Queue {
  readonly name: string
  /** The dead letters of this queue. */
  readonly deadLetters: DeadLetters
  readonly #context: Context

  constructor(context: Context, name: string, { wakeRelay }: { readonly wakeRelay?: () => void } = {}) {
    this.name = name
    this.deadLetters = new DeadLetters(context, { queue: name, ...(wakeRelay && { wakeRelay }) })
    this.#context = context
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
