import { setTimeout as sleep } from 'node:timers/promises'
import { ask } from './ask.ts'
import type { Drained } from './consumer/draining.ts'
import type { Context } from './context.ts'
import { DeadLetters } from './dead-letters.ts'
import { QueueNotEmpty } from './errors.ts'
import type { Claimed } from './postgres/claim.ts'
import { cancelScheduled, deleteQueue, pauseQueue, purgeQueue, resumeQueue } from './postgres/flow.ts'
import { peek } from './postgres/peek.ts'
import { queueStatus, relayStatus } from './postgres/status.ts'
import { type DeliveriesOptions, Pull, type PulledDelivery, type PullPlace, type ReceiveOptions } from './queue/pull.ts'
import { numberOf } from './queue-number.ts'
import type { AttemptError } from './rules/error-summary.ts'
import { milliseconds, parseOptions, shape, wholeNumber } from './rules/options.ts'
import type { QueueStatus } from './status.ts'

/** How much of a queue to look at. */
export interface PeekOptions {
  /** How many deliveries to look at, 1 to 1,000. @default 10 */
  readonly limit?: number
}

/** For how long a queue is closed, why, and by whom. */
export interface PauseOptions {
  /** For how long, in milliseconds; then it resumes by itself. @default until `resume()` */
  readonly forMs?: number | undefined
  /** Why; `status` shows it. @default none */
  readonly reason?: string | undefined
  /** Who does it; `status` shows it. @default none */
  readonly by?: string | undefined
}

/** Whether a queue is deleted with what it has. */
export interface DeleteOptions {
  /** Deletes it with all it has, dead letters included, which is counted as purged. @default false: a queue that has anything is refused */
  readonly force?: boolean | undefined
  /** How long handlers may take to finish with what they hold, in milliseconds. @default 10_000 */
  readonly timeoutMs?: number | undefined
}

const DEFAULTS = Object.freeze({ limit: 10, timeoutMs: 10_000 })

const PEEK = shape((z) => z.strictObject({ limit: wholeNumber(1, 1_000).default(DEFAULTS.limit) }))
const PAUSE = shape((z) =>
  z.strictObject({
    forMs: milliseconds(1).optional(),
    reason: z.string().min(1).optional(),
    by: z.string().min(1).optional(),
  }),
)
const DELETE = shape((z) =>
  z.strictObject({
    force: z.boolean().default(false),
    timeoutMs: milliseconds().default(DEFAULTS.timeoutMs),
  }),
)
const CANCEL = shape((z) => z.strictObject({ messageId: z.guid('it is not a uuid') }))

const AT_ONCE = 10_000
const AGAIN_MS = 50

// How long a message that was just published may be on its way from the log to its queue.
const UNDER_WAY_MS = 2_000

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

/** When a drain ends. */
export interface DrainOptions {
  /** How many deliveries to claim at most. @default 1_000 */
  readonly maxMessages?: number
  /** When to end, in milliseconds from now. @default 20_000 */
  readonly deadlineMs?: number
}

const DRAIN = shape((z) =>
  z.strictObject({
    maxMessages: wholeNumber(1, 1_000_000).default(1_000),
    deadlineMs: milliseconds(1).default(20_000),
  }),
)

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
  readonly #wakeRelay: (() => void) | undefined

  constructor(place: QueuePlace<Tx>, name: string) {
    const { context, wakeRelay, drain } = place
    this.name = name
    this.deadLetters = new DeadLetters(context as Context, { queue: name, wakeRelay })
    this.#context = context as Context
    this.#pull = new Pull(place, name)
    this.#drain = drain
    this.#wakeRelay = wakeRelay
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
   * for await (const delivery of posthaste.queue('billing').deliveries({ leaseMs: 60_000, signal }))
   *   await delivery.complete(async (tx) => charge(tx, delivery.payload))
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

  /**
   * No process claims anything of it from now on, whatever its language, until the time is over or somebody resumes it. Handlers
   * under way finish; messages go on arriving. A process that hears no notifications notices with its next poll.
   */
  async pause(options: PauseOptions = {}): Promise<void> {
    const { forMs = null, reason = null, by = null } = parseOptions(PAUSE, options)
    const queue = await numberOf(this.#context, this.name)
    await ask(this.#context, pauseQueue(this.#context.tables, { queue, source: 'operator', forMs, reason, by }))
  }

  /** Opens it, whoever closed it: an operator, a handler or the circuit breaker. False: it was open. */
  async resume(): Promise<boolean> {
    const queue = await numberOf(this.#context, this.name)
    const [{ resumed } = { resumed: false }] = await ask(this.#context, resumeQueue(this.#context.tables, queue))
    return resumed
  }

  /**
   * Deletes what waits in it, ready or scheduled, for good, and counts it; what handlers hold is theirs, and dead letters stay.
   * Some ten thousand at a time, each in a transaction of its own. Answers how many.
   */
  async purge(): Promise<{ readonly purged: number }> {
    const queue = await numberOf(this.#context, this.name)
    let purged = 0
    for (;;) {
      const [gone] = await ask(this.#context, purgeQueue(this.#context.tables, queue, AT_ONCE))
      purged += gone?.purged ?? 0
      if ((gone?.purged ?? 0) === 0) break
    }
    if (purged > 0) this.#context.events.emit('purged', { queue: this.name, deliveries: purged })
    return { purged }
  }

  /**
   * Takes back a delivery that waits for its time, delayed or to be retried: it ends as discarded. False: none waits here, it
   * was due already, or it has ended. `posthaste.cancel(tx, id)` does it in your transaction, for all queues.
   */
  async cancel(messageId: string): Promise<boolean> {
    const queue = await numberOf(this.#context, this.name)
    const { messageId: id } = parseOptions(CANCEL, { messageId })
    const ids = [id]
    const { tables } = this.#context
    for (const deadline = performance.now() + UNDER_WAY_MS; ; await sleep(AGAIN_MS)) {
      const [relay] = await ask(this.#context, relayStatus(tables))
      const cancelled = await ask(this.#context, cancelScheduled(tables, { ids, queue }))
      if (cancelled.length > 0) return true
      if (relay?.unrouted === 0 || performance.now() > deadline) return false
      this.#wakeRelay?.()
    }
  }

  /**
   * Deletes the queue and its bindings; `QueueNotEmpty` when it has deliveries or dead letters, unless forced. What handlers hold
   * in a transaction is waited for; leases are taken away from theirs, which then settle nothing.
   *
   * A service that still declares the queue makes it again at its next start.
   */
  async delete(options: DeleteOptions = {}): Promise<{ readonly purged: number }> {
    const { force, timeoutMs } = parseOptions(DELETE, options)
    await numberOf(this.#context, this.name)
    let purged = 0
    if (force) {
      await this.pause({ reason: 'it is being deleted' })
      purged += (await this.purge()).purged
    }
    for (const deadline = performance.now() + timeoutMs; ; await sleep(AGAIN_MS)) {
      const [gone] = await ask(this.#context, deleteQueue(this.#context.tables, this.name, force))
      purged += gone!.purged
      if (gone!.deleted) return { purged }
      if (performance.now() > deadline) throw new QueueNotEmpty(this.name, 'handlers still hold deliveries of it')
    }
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
