import { Attempt } from './consumer/attempt.ts'
import { LARGEST_BATCH } from './consumer/batch-size.ts'
import type { BatchContextOf, ContextOf, Guarantee } from './consumer/context.ts'
import { type Drained, Draining, type DrainRequest } from './consumer/draining.ts'
import type { OnError } from './consumer/failing.ts'
import { type BatchHandler, type Handler, Handlers } from './consumer/handlers.ts'
import { replying } from './consumer/replying.ts'
import { type ConsumerPlace, Running } from './consumer/running.ts'
import type { Context } from './context.ts'
import { InvalidOption, NotSupported } from './errors.ts'
import { Lifecycle } from './machinery/lifecycle.ts'
import { lookAtQueues, type QueueLook } from './postgres/flow.ts'
import { run } from './postgres/queryable.ts'
import type { AnyContract, AnyRequestContract, Contract, RequestContract } from './rules/contract.ts'
import type { Delivery } from './rules/delivery.ts'
import { summarise } from './rules/error-summary.ts'
import { milliseconds, parseOptions, passedThrough, shape, wholeNumber } from './rules/options.ts'
import type { Outcome } from './rules/outcome.ts'
import { type Horizon, type ProviderOptions, providerOf, requireWindow } from './rules/provider.ts'
import { joinOrMake } from './stream/groups.ts'
import { StreamRunning } from './stream/running.ts'

export type {
  AtLeastOnceContext,
  AtMostOnceContext,
  ContextOf,
  ExactlyOnceContext,
  Guarantee,
  PublishInAttempt,
} from './consumer/context.ts'
export type { OnError } from './consumer/failing.ts'
export type { BatchHandler, Handler } from './consumer/handlers.ts'
export type { ConsumerPlace } from './consumer/running.ts'

/**
 * How a consumer works: its guarantee, how much it does at a time, and for how long. Every field has a default; times are milliseconds.
 *
 * ```ts
 * posthaste.consumer('billing', { concurrency: 20, batchSize: 50, timeoutMs: 5_000 })
 * ```
 */
export interface ConsumerOptions<G extends Guarantee = Guarantee> {
  /**
   * When the claim is committed, and so what a failure means: with the effect (`exactly-once-effects`), by a lease before it
   * (`at-least-once`), or for good before it (`at-most-once`). @default 'exactly-once-effects'
   */
  readonly guarantee?: G
  /** How many transactions or leases of this consumer are worked off at the same time, 1 to 1,000; each wants a connection of the pool. @default 10 */
  readonly concurrency?: number
  /**
   * How many deliveries share a transaction or a lease, 1 to 50; `'auto'` finds out: quick handlers 50, or 200 where few of them write, slow ones 1. Of a stream, 1 to
   * 5,000 messages, and `'auto'` is 100. @default 'auto'
   */
  readonly batchSize?: number | 'auto'
  /** How long a handler may take, in milliseconds; then its signal fires, and its attempt has failed. @default 30_000 */
  readonly timeoutMs?: number
  /** At least once: how long a process that dies keeps others from its deliveries, in milliseconds; renewed at a third of it. @default 30_000 */
  readonly leaseMs?: number
  /**
   * The providers that its handlers call through the effect ledger: start refuses one that forgets keys sooner than the queue
   * stops repeating a delivery. One that is not named is checked when it is first called. @default none
   */
  readonly providers?: readonly ProviderOptions[]
  /**
   * Says what a failed attempt means, before the queue's policy does: return an outcome of the delivery, or nothing. A pure function
   * of what it is given; the payload is as it was published. What it throws is reported, and the policy holds. @default none
   *
   * ```ts
   * posthaste.consumer('cards', {
   *   onError: (error, delivery) => {
   *     if ((error as { code?: string }).code === 'CARD_DECLINED') return delivery.deadLetter('declined')
   *   },
   * })
   * ```
   */
  readonly onError?: OnError | undefined
  /** Of a stream: the name of its readers. All consumers of a group, in whatever process, share the stream; every group gets all of it. @default the stream's name */
  readonly group?: string | undefined
  /**
   * Of a stream: where a group begins that is not there yet: with the oldest message of the log, with what is published from then on,
   * with what was published at a time or later, or with a message, by its id. @default 'earliest'
   */
  readonly from?: 'earliest' | 'latest' | Date | string
  /** Of a stream: remembers in the inbox what was processed, so that reading again repeats nothing. @default false */
  readonly replayGuard?: boolean
}

export const DEFAULT_CONSUMER = Object.freeze({
  guarantee: 'exactly-once-effects',
  concurrency: 10,
  batchSize: 'auto',
  timeoutMs: 30_000,
  leaseMs: 30_000,
  providers: Object.freeze([]) as readonly ProviderOptions[],
  onError: undefined,
  group: undefined,
  from: 'earliest' as const,
  replayGuard: false,
})

/** Messages of a stream share a transaction without a savepoint for each. */
const LARGEST_PIECE = 5_000
const OF_STREAMS = ['group', 'from', 'replayGuard'] as const

const OPTIONS = shape((z) =>
  z.strictObject({
    guarantee: z.enum(['exactly-once-effects', 'at-least-once', 'at-most-once']).default(DEFAULT_CONSUMER.guarantee),
    concurrency: wholeNumber(1, 1_000).default(DEFAULT_CONSUMER.concurrency),
    batchSize: z.union([wholeNumber(1, LARGEST_PIECE), z.literal('auto')]).default(DEFAULT_CONSUMER.batchSize),
    timeoutMs: milliseconds(1).default(DEFAULT_CONSUMER.timeoutMs),
    leaseMs: milliseconds(1_000).default(DEFAULT_CONSUMER.leaseMs),
    providers: z.array(passedThrough<ProviderOptions>()).readonly().default(DEFAULT_CONSUMER.providers),
    onError: z
      .custom<OnError | undefined>((given) => given === undefined || typeof given === 'function', 'it is no function')
      .optional()
      .transform((given) => given),
    group: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .transform((given) => given),
    from: z.union([z.enum(['earliest', 'latest']), z.date(), z.guid()]).default(DEFAULT_CONSUMER.from),
    replayGuard: z.boolean().default(DEFAULT_CONSUMER.replayGuard),
  }),
)

export interface StopOptions {
  /** How long handlers may go on, in milliseconds; then their signals fire, and a second later their transactions are destroyed. @default 30_000 */
  readonly timeoutMs?: number
}

const STOP_TIMEOUT_MS = 30_000

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
 *     await tx.insertInto('charges').values({ order_id: payload.orderId, cents: payload.cents }).execute()
 *   })
 * ```
 */
export class Consumer<Tx, G extends Guarantee = 'exactly-once-effects'> {
  readonly #place: ConsumerPlace<Tx>
  readonly #options: Required<ConsumerOptions>
  readonly #handlers: Handlers
  readonly #lifecycle: Lifecycle<StopOptions>
  #running: Pick<Running<Tx>, 'start' | 'stop'> | undefined

  constructor(place: ConsumerPlace<Tx>, options: ConsumerOptions<G> = {}) {
    this.#place = place
    this.#options = parseOptions(OPTIONS, options)
    this.#refuseMisplaced(options)
    this.#handlers = new Handlers(place.queue.name, place.context.keys)
    this.#lifecycle = new Lifecycle({
      start: (signal) => this.#start(signal),
      stop: (stopping) => this.#stop(stopping),
    })
  }

  /** The name of its queue. */
  get queue(): string {
    return this.#place.queue.name
  }

  /** The contracts it handles. */
  get contracts(): readonly AnyContract[] {
    return this.#handlers.contracts
  }

  /** Handles the messages of a contract. Before `start()`, and once per contract. */
  on<Name extends string, In, Out>(contract: Contract<Name, In, Out>, handler: Handler<Out, ContextOf<G, Tx>>): this {
    this.#handlers.on(contract as AnyContract, handler as Handler<never, never>)
    return this
  }

  /**
   * Handles the messages of a contract several at a time, as many as one transaction or lease holds: `batchSize` of them at most, and
   * those of one message type. Answer nothing, or outcomes by id; what is not named is done. With exactly-once effects all share one
   * savepoint: when the handler throws, what it wrote is taken back and its deliveries are handed to it one by one, so that only
   * those that fail alone are charged with an attempt. `timeoutMs` is the time of the whole call.
   *
   * ```ts
   * posthaste.consumer('ledger', { batchSize: 50 }).onBatch(Paid, async (deliveries, { tx }) => {
   *   await tx.insertInto('ledger').values(deliveries.map(({ id, payload }) => ({ id, ...payload }))).execute()
   * })
   * ```
   */
  onBatch<Name extends string, In, Out>(
    contract: Contract<Name, In, Out>,
    handler: BatchHandler<Out, BatchContextOf<G, Tx>>,
  ): this {
    this.#handlers.onBatch(contract as AnyContract, handler as BatchHandler<never, never>)
    return this
  }

  /**
   * Handles the requests of a contract: what the handler returns is the reply, written in its transaction, so that the requester
   * gets it if and only if the handler's effects are committed. An outcome of the delivery is no reply.
   *
   * ```ts
   * posthaste.consumer('quotes').reply(GetQuote, async ({ payload }, { tx }) => ({ cents: await priceOf(tx, payload.sku) }))
   * ```
   */
  reply<Name extends string, In, Out, ReplyIn, ReplyOut>(
    contract: RequestContract<Name, In, Out, ReplyIn, ReplyOut>,
    handler: (delivery: Delivery<Out>, context: ContextOf<G, Tx>) => Promise<ReplyIn | Outcome> | ReplyIn | Outcome,
  ): this {
    const { context, outbox, queue } = this.#place
    const tooLate = ({ id }: Delivery) => context.events.emit('reply-late', { queue: queue.name, messageId: id })
    this.#handlers.on(
      contract as AnyContract,
      replying(contract as AnyRequestContract, handler, { tables: context.tables, outbox, tooLate }),
    )
    return this
  }

  /** Handles what no other handler does; without it, messages of unknown types become dead letters. */
  otherwise(handler: Handler<unknown, ContextOf<G, Tx>>): this {
    this.#handlers.otherwise(handler as Handler<never, never>)
    return this
  }

  /**
   * How long one delivery may be repeated.
   *
   * @internal
   */
  get horizon(): Horizon {
    const { name, retry } = this.#place.queue
    const { timeoutMs, leaseMs, guarantee } = this.#options
    return { queue: name, retry, timeoutMs, leaseMs: guarantee === 'at-least-once' ? leaseMs : 0 }
  }

  /**
   * Throws for a provider that forgets a key sooner than a delivery is repeated for the last time, and for a guarantee that cannot
   * keep the limits of the queue.
   *
   * @internal
   */
  check(): void {
    for (const provider of this.#options.providers) requireWindow(providerOf(provider), this.horizon)
    const { maxConcurrency, maxConcurrencyPerKey, breaker } = this.#place.queue.flow ?? {}
    if (this.#options.guarantee === 'at-most-once' && (maxConcurrency ?? maxConcurrencyPerKey) !== undefined)
      throw new NotSupported(
        'at-most-once',
        `queue "${this.queue}" limits how many deliveries are attempted at a time (maxConcurrency), and these end before their attempt`,
      )
    if (this.#options.guarantee === 'at-most-once' && breaker !== undefined)
      throw new NotSupported(
        'at-most-once',
        `queue "${this.queue}" has a breaker, and these deliveries end before their attempt can fail`,
      )
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

  /**
   * Works off what is there with the handlers of this consumer, which is not running, and ends.
   *
   * @internal
   */
  async drain(request: DrainRequest): Promise<Drained> {
    if (this.#place.queue.kind === 'stream') throw new NotSupported('drain', 'a stream is read by consumers that run')
    const number = await this.#ready()
    return await new Draining(this.#place, this.#options, this.#handlers, number).drain(request)
  }

  /** `stop()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #ready(): Promise<number> {
    this.check()
    for (const contract of this.#handlers.contracts) this.#place.admit?.(contract)
    this.#handlers.seal()
    return await this.#place.number()
  }

  async #start(signal: AbortSignal): Promise<void> {
    const number = await this.#ready()
    if (signal.aborted) return
    const { database, tables } = this.#place.context
    const [look] = await run(database, lookAtQueues(tables, { queues: [number] }))
    if (signal.aborted) return
    this.#running =
      this.#place.queue.kind === 'stream'
        ? await this.#reader(number, look)
        : new Running(this.#place, this.#options, this.#handlers, { number, look })
    if (!signal.aborted) this.#running.start()
  }

  async #reader(number: number, look: QueueLook | undefined): Promise<StreamRunning<Tx>> {
    const { context, queue } = this.#place
    const { group: name = queue.name, from } = this.#options
    const group = await joinOrMake(context as Context, { queue: number, stream: queue.name, name, from })
    return new StreamRunning(this.#place, this.#options, this.#handlers, { number, group, look })
  }

  #refuseMisplaced(given: ConsumerOptions<G>): void {
    if (this.#place.queue.kind === 'stream') return
    const misplaced = OF_STREAMS.find((option) => given[option] !== undefined)
    if (misplaced) throw new InvalidOption(misplaced, `queue "${this.#place.queue.name}" is no stream`)
    if (typeof this.#options.batchSize === 'number' && this.#options.batchSize > LARGEST_BATCH)
      throw new InvalidOption('batchSize', `it is more than ${LARGEST_BATCH}, the most of a standard queue`)
  }

  async #stop({ timeoutMs = STOP_TIMEOUT_MS }: StopOptions = {}): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.stop(timeoutMs)
  }
}
