import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { AtLeastOnce } from './consumer/at-least-once.ts'
import { AtMostOnce } from './consumer/at-most-once.ts'
import { Attempt } from './consumer/attempt.ts'
import { BatchSize, LARGEST_BATCH } from './consumer/batch-size.ts'
import type { ClaimLoop } from './consumer/claim-loop.ts'
import type { ContextOf, Guarantee } from './consumer/context.ts'
import { BENEFIT_OF_DOUBT_MS, Crashes } from './consumer/crashes.ts'
import { ExactlyOnce } from './consumer/exactly-once.ts'
import { Floors } from './consumer/floors.ts'
import { type Handler, Handlers } from './consumer/handlers.ts'
import { Leases } from './consumer/leases.ts'
import type { Mode } from './consumer/mode.ts'
import { OwnRows } from './consumer/own-rows.ts'
import { report, type Seat } from './consumer/seat.ts'
import { Slots, type Taken } from './consumer/slots.ts'
import { Sweep } from './consumer/sweep.ts'
import type { Context } from './context.ts'
import { Stopped } from './errors.ts'
import { Backoff } from './machinery/backoff.ts'
import { Lifecycle } from './machinery/lifecycle.ts'
import { Throttle } from './machinery/throttle.ts'
import type { Outbox } from './outbox.ts'
import { notifyRelay } from './postgres/channels.ts'
import { run } from './postgres/queryable.ts'
import type { AnyContract, Contract } from './rules/contract.ts'
import { summarise } from './rules/error-summary.ts'
import { milliseconds, parseOptions, wholeNumber } from './rules/options.ts'
import type { QueueSettings } from './rules/topology.ts'

export type {
  AtLeastOnceContext,
  AtMostOnceContext,
  ContextOf,
  ExactlyOnceContext,
  Guarantee,
  PublishInAttempt,
} from './consumer/context.ts'
export type { Handler } from './consumer/handlers.ts'

export interface ConsumerOptions<G extends Guarantee = Guarantee> {
  /**
   * When the claim is committed, and so what a failure means: with the effect (`exactly-once-effects`), by a lease before it
   * (`at-least-once`), or for good before it (`at-most-once`). @default 'exactly-once-effects'
   */
  readonly guarantee?: G
  /** How many transactions or leases of this consumer are worked off at the same time, 1 to 1,000; each wants a connection of the pool. @default 10 */
  readonly concurrency?: number
  /** How many deliveries share a transaction or a lease, 1 to 50; `'auto'` finds out: quick handlers 50, slow ones 1. @default 'auto' */
  readonly batchSize?: number | 'auto'
  /** How long a handler may take, in milliseconds; then its signal fires, and its attempt has failed. @default 30_000 */
  readonly timeoutMs?: number
  /** At least once: how long a process that dies keeps others from its deliveries, in milliseconds; renewed at a third of it. @default 30_000 */
  readonly leaseMs?: number
}

export const DEFAULT_CONSUMER = Object.freeze({
  guarantee: 'exactly-once-effects',
  concurrency: 10,
  batchSize: 'auto',
  timeoutMs: 30_000,
  leaseMs: 30_000,
})

const OPTIONS = z.strictObject({
  guarantee: z.enum(['exactly-once-effects', 'at-least-once', 'at-most-once']).default(DEFAULT_CONSUMER.guarantee),
  concurrency: wholeNumber(1, 1_000).default(DEFAULT_CONSUMER.concurrency),
  batchSize: z.union([wholeNumber(1, LARGEST_BATCH), z.literal('auto')]).default(DEFAULT_CONSUMER.batchSize),
  timeoutMs: milliseconds(1).default(DEFAULT_CONSUMER.timeoutMs),
  leaseMs: milliseconds(1_000).default(DEFAULT_CONSUMER.leaseMs),
})

export interface StopOptions {
  /** How long handlers may go on, in milliseconds; then their signals fire, and a second later their transactions are destroyed. @default 30_000 */
  readonly timeoutMs?: number
}

const STOP_TIMEOUT_MS = 30_000
const ABORT_GRACE_MS = 1_000
const LAST_WORDS_MS = 10_000

/** A delay the relay would notice by itself. */
const NOTICED_MS = 1_000

const CEILING: readonly string[] = Object.freeze(Array<string>(10).fill('9223372036854775807'))

/** What a consumer needs of the Posthaste it belongs to. */
export interface ConsumerPlace<Tx> {
  readonly context: Context<Tx>
  readonly claims: ClaimLoop
  readonly outbox: Pick<Outbox, 'publishIn'>
  readonly queue: QueueSettings
  /** The queue's number in the database; rejects when it is not declared. */
  number(): Promise<number>
  /** Throws for a contract that no binding can bring to the queue. */
  admit?(contract: AnyContract): void
  /** Wakes the relay. @default a notification to the one on duty, wherever it is */
  wakeRelay?(): void
}

/**
 * Hands each delivery of a queue to the handler of its contract, until there is an end to it that is recorded: done, or a dead
 * letter with its history. What "done" is worth follows from the guarantee; the default commits the handler's effects in this
 * Postgres exactly once.
 *
 * Any number of consumers, in any number of processes, may work on one queue.
 *
 * ```ts
 * posthaste.consumer('billing', { concurrency: 10 })
 *   .on(OrderPlaced, async ({ payload }, { tx }) => {
 *     await tx.insertInto('charges').values({ order: payload.orderId, cents: payload.cents }).execute()
 *   })
 * ```
 */
export class Consumer<Tx, G extends Guarantee = 'exactly-once-effects'> {
  readonly #place: ConsumerPlace<Tx>
  readonly #options: Required<ConsumerOptions>
  readonly #handlers: Handlers
  readonly #lifecycle: Lifecycle<StopOptions>
  #running: Running<Tx> | undefined

  constructor(place: ConsumerPlace<Tx>, options: ConsumerOptions<G> = {}) {
    this.#place = place
    this.#options = parseOptions(OPTIONS, options)
    this.#handlers = new Handlers(place.queue.name)
    this.#lifecycle = new Lifecycle({
      start: (signal) => this.#start(signal),
      stop: (stopping) => this.#stop(stopping),
    })
  }

  /** The name of its queue. */
  get queue(): string {
    return this.#place.queue.name
  }

  /** Handles the messages of a contract. Before `start()`, and once per contract. */
  on<Name extends string, In, Out>(contract: Contract<Name, In, Out>, handler: Handler<Out, ContextOf<G, Tx>>): this {
    this.#handlers.on(contract as AnyContract, handler as Handler<never, never>)
    return this
  }

  /** Handles what no other handler does; without it, messages of unknown types become dead letters. */
  otherwise(handler: Handler<unknown, ContextOf<G, Tx>>): this {
    this.#handlers.otherwise(handler as Handler<never, never>)
    return this
  }

  /** Resolves when it listens. Twice is once. */
  async start(): Promise<void> {
    await this.#lifecycle.start()
  }

  /**
   * Claims nothing from now on, and resolves when the handlers under way have ended: by themselves, or at the deadline by force.
   * What was claimed and not begun goes back without an attempt. Called by one of its handlers it does not wait for that.
   */
  async stop(options: StopOptions = {}): Promise<void> {
    const stopped = this.#lifecycle.stop(options)
    if (Attempt.current === undefined) return await stopped
    stopped.catch((error) => this.#place.context.events.emit('error', { where: 'stop', error: summarise(error) }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #start(signal: AbortSignal): Promise<void> {
    for (const contract of this.#handlers.contracts) this.#place.admit?.(contract)
    this.#handlers.seal()
    const number = await this.#place.number()
    if (signal.aborted) return
    this.#running = new Running(this.#place, this.#options, this.#handlers, number)
    this.#running.start()
  }

  async #stop({ timeoutMs = STOP_TIMEOUT_MS }: StopOptions = {}): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.stop(timeoutMs)
  }
}

/** A consumer between its start and its stop. */
class Running<Tx> {
  readonly #place: ConsumerPlace<Tx>
  readonly #options: Required<ConsumerOptions>
  readonly #seat: Seat<Tx>
  readonly #stopping = new AbortController()
  readonly #floors = new Floors()
  readonly #own: OwnRows<Tx>
  readonly #crashes: Crashes<Tx>
  readonly #mode: Mode
  readonly #slots: Slots
  readonly #sweep: Sweep
  readonly #backoff = new Backoff()
  readonly #throttle = new Throttle()
  #leave: (() => void) | undefined
  #pause: NodeJS.Timeout | undefined
  #nudge: Promise<unknown> | undefined
  #aloneDue = false
  #alone = false
  #sweeps = 0

  constructor(place: ConsumerPlace<Tx>, options: Required<ConsumerOptions>, handlers: Handlers, number: number) {
    this.#place = place
    this.#options = options
    const { context, outbox, queue } = place
    this.#seat = {
      context,
      outbox,
      queue,
      number,
      handlers,
      timeoutMs: options.timeoutMs,
      attempts: new Set(),
      stopping: this.#stopping.signal,
      scheduled: (delayMs) => this.#scheduled(delayMs),
    }
    this.#own = new OwnRows(this.#seat)
    this.#crashes = new Crashes(this.#seat, this.#own)
    this.#mode = this.#modeOf(options)
    this.#slots = new Slots({
      concurrency: options.concurrency,
      take: (claimed) => this.#take(claimed),
      mayRest: () => context.listener.healthy,
      onError: (error) => this.#failed(error),
    })
    this.#sweep = new Sweep({ sweep: (found) => this.#sweepOnce(found), onError: (error) => this.#report(error) })
  }

  start(): void {
    const { context, claims, queue } = this.#place
    const { guarantee, concurrency } = this.#options
    this.#sweep.start()
    this.#leave = claims.enlist(this.#seat.number, () => this.#wake())
    this.#wake()
    context.events.emit('consumer-started', { queue: queue.name, guarantee, concurrency })
  }

  async stop(timeoutMs: number): Promise<void> {
    this.#stopping.abort()
    this.#leave?.()
    clearTimeout(this.#pause)
    this.#slots.close()
    const swept = this.#sweep.stop()
    const unfinished = (await within(timeoutMs, this.#slots.idle())) ? 0 : await this.#cut()
    await within(LAST_WORDS_MS, Promise.all([swept, this.#mode.close()]))
    this.#place.context.events.emit('consumer-stopped', { queue: this.#place.queue.name, unfinished })
  }

  async #cut(): Promise<number> {
    const unfinished = this.#seat.attempts.size
    const stopped = new Stopped(`consumer of ${this.#place.queue.name}`)
    for (const attempt of this.#seat.attempts) attempt.cut(stopped, ABORT_GRACE_MS)
    await within(ABORT_GRACE_MS + LAST_WORDS_MS, this.#slots.idle())
    return unfinished
  }

  #modeOf({ guarantee, batchSize, leaseMs }: Required<ConsumerOptions>): Mode {
    const { context, queue } = this.#place
    const changed = (from: number, to: number) =>
      context.events.emit('batch-size-changed', { queue: queue.name, from, to })
    const parts = { floors: this.#floors, own: this.#own, size: new BatchSize(batchSize, { changed }) }
    if (guarantee === 'at-most-once') return new AtMostOnce(this.#seat, parts)
    if (guarantee === 'exactly-once-effects') return new ExactlyOnce(this.#seat, parts)
    return new AtLeastOnce(this.#seat, { ...parts, leases: new Leases(this.#seat, leaseMs) })
  }

  #wake(): void {
    if (this.#pause === undefined) this.#slots.wake()
  }

  async #take(claimed: (taken: Taken) => void): Promise<Taken> {
    if (this.#aloneDue && !this.#alone) return await this.#takeAlone(claimed)
    const taken = await this.#mode.take((told) => {
      this.#sweep.touch({ empty: told.claimed === 0 })
      claimed(told)
    })
    this.#backoff.reset()
    return taken
  }

  // As many as there are, one after the other, in one slot: none has company, and the other slots go on.
  async #takeAlone(claimed: (taken: Taken) => void): Promise<Taken> {
    this.#aloneDue = false
    this.#alone = true
    const taken = { asked: 1, claimed: 1 }
    claimed(taken)
    try {
      while (!this.#stopping.signal.aborted && (await this.#mode.takeAlone()));
    } finally {
      this.#alone = false
    }
    return taken
  }

  async #sweepOnce({ empty }: { readonly empty: boolean }): Promise<number | undefined> {
    const below = empty ? CEILING : this.#floors.positions
    this.#floors.fall()
    this.#sweeps += 1
    await this.#own.retry()
    const charged = await this.#crashes.look(below)
    if (charged > 0 || empty || this.#sweeps % EVERY_FEW_SWEEPS === 0) {
      this.#aloneDue = true
      this.#wake()
    }
    return this.#crashes.pending > 0 ? BENEFIT_OF_DOUBT_MS : undefined
  }

  #scheduled(delayMs: number): void {
    if (delayMs >= NOTICED_MS) return
    if (this.#place.wakeRelay) this.#place.wakeRelay()
    else this.#nudge ??= this.#knock()
  }

  async #knock(): Promise<void> {
    await sleep(0)
    this.#nudge = undefined
    const { database, tables } = this.#place.context
    await run(database, notifyRelay(tables)).catch((error) => this.#report(error))
  }

  // The database is out of order: what fails is not made to fail faster.
  #failed(error: unknown): void {
    this.#report(error)
    if (this.#pause !== undefined || this.#stopping.signal.aborted) return
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#wake()
    }, this.#backoff.next())
  }

  #report(error: unknown): void {
    if (this.#throttle.allows(summarise(error).message)) report(this.#seat, error)
  }
}

const EVERY_FEW_SWEEPS = 5

/** Whether it came to its end in time; what it throws is not our business. */
async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const expiry = new AbortController()
  const late = sleep(ms, false, { signal: expiry.signal }).catch(() => false)
  try {
    return await Promise.race([work.then(() => true).catch(() => true), late])
  } finally {
    expiry.abort()
  }
}
