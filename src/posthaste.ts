import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Audit, audit } from './audit.ts'
import { ClaimLoop } from './consumer/claim-loop.ts'
import type { Guarantee } from './consumer/context.ts'
import type { Drained } from './consumer/draining.ts'
import { Consumer, type ConsumerOptions } from './consumer.ts'
import type { Context } from './context.ts'
import type { Database } from './database.ts'
import { DeadLetters } from './dead-letters.ts'
import { type EffectBodies, Effects } from './effects.ts'
import { type Erased, type EraseOptions, erase } from './erasure.ts'
import { AlreadyStarted, NotSupported, RetentionTooShort, UnknownQueue } from './errors.ts'
import {
  EventBus,
  type Listener as EventListener,
  type EventName,
  type Events,
  type Logger,
  logTo,
  type UntilOptions,
} from './events.ts'
import { FullQueues } from './full-queues.ts'
import { type Condition, type Health, HealthCheck } from './health.ts'
import { Inbox } from './inbox.ts'
import { type Act, type JournalOptions, journal } from './journal.ts'
import { Backoff } from './machinery/backoff.ts'
import { Lifecycle } from './machinery/lifecycle.ts'
import { within } from './machinery/within.ts'
import { Outbox, type Publishable, type Published } from './outbox.ts'
import { Listener } from './postgres/listener.ts'
import { tablesOf } from './postgres/tables.ts'
import { type DrainOptions, Queue } from './queue.ts'
import { Errand } from './relay/errand.ts'
import { DEFAULT_RETENTION, type Kept, type Retention } from './relay/upkeep.ts'
import { Relay, type RelayOptions } from './relay.ts'
import { type RequestOptions, Requests } from './requests.ts'
import type { AnyRequestContract, RequestContract } from './rules/contract.ts'
import type { MessageFacts } from './rules/delivery.ts'
import { effectBodies } from './rules/effect-bodies.ts'
import { Keyring, type PayloadKeys } from './rules/encryption.ts'
import { hasCode, isConnectionLoss } from './rules/error-summary.ts'
import type { PublishOptions } from './rules/message.ts'
import { milliseconds, type Parsed, parseOptions, passedThrough, shape, wholeNumber } from './rules/options.ts'
import { horizonMs } from './rules/provider.ts'
import { longestRetryMs } from './rules/retry.ts'
import { defineTopology, type QueueSettings, type Topology } from './rules/topology.ts'
import type { HandledLine } from './rules/verify.ts'
import { type ScheduleOptions, Schedules } from './schedules.ts'
import { type Status, status } from './status.ts'
import { readLog } from './stream/read.ts'
import { type Verdict, type VerifyOptions, verify } from './stream/verify.ts'
import { type ReadOptions, Stream } from './stream.ts'
import { type DeclareOptions, type StoredTopology, type TopologyDiff, TopologyStore } from './topology.ts'
import { type Trace, type TraceOptions, trace } from './trace.ts'
import type { AnyTransaction } from './transaction-handle.ts'

/**
 * What a `Posthaste` is made of. Only `database` is needed; a name that is none of these is refused with the nearest that is.
 *
 * ```ts
 * new Posthaste({
 *   database: pgDatabase(pool),
 *   topology,
 *   service: 'shop',
 *   retention: { outboxMs: 14 * 86_400_000, inboxMs: 15 * 86_400_000 },
 * })
 * ```
 */
export interface PosthasteOptions<Tx, QueueName extends string> {
  /** Where the messages live: `pgDatabase(pool)` or `kyselyDatabase(db)`. Handlers get its transactions. */
  readonly database: Database<Tx>
  /** Exchanges, queues and what comes to each. Declared at start. @default none: publish to what others declared */
  readonly topology?: Topology<QueueName>
  /** The schema that holds everything; several may live in one database. @default 'posthaste' */
  readonly schema?: string
  /** The name of this service: what it declares first is owned by it. @default none */
  readonly service?: string
  /** A direct connection string for LISTEN and session locks, when the pool goes through a pooler such as PgBouncer. @default the pool's own */
  readonly listenUrl?: string
  /** Anything shaped like pino's logger; it is told of every event. @default silent */
  readonly logger?: Logger
  /** How the relay of this process works. @default see RelayOptions */
  readonly relay?: Omit<RelayOptions, 'retention'>
  /** How responses of calls to the outside are stored: redacted, sealed, how large. @default as they are, 64 KB at most */
  readonly effects?: EffectBodies
  /**
   * The keys that payloads are encrypted with, for contracts that say `encrypt`; the same in every process that publishes or handles
   * them. @default none
   */
  readonly payloadKeys?: PayloadKeys
  /** How long things are kept. Start refuses an inbox that forgets sooner than a message may be delivered again. */
  readonly retention?: Retention
}

/**
 * Which parts run in this process. Both by default.
 *
 * ```ts
 * await posthaste.start({ relay: false }) // `posthaste relay` runs elsewhere
 * ```
 */
export interface StartOptions {
  /** Runs a relay in this process. One must run somewhere. @default true */
  readonly relay?: boolean
  /** Runs the consumers of this process. @default true */
  readonly consumers?: boolean
}

/** How patient a stop is. */
export interface StopOptions {
  /** How long handlers may take to finish, in milliseconds; then their signals fire and their transactions are rolled back. @default 30_000 */
  readonly timeoutMs?: number
}

const PAYLOAD_KEYS = shape((z) => z.strictObject({ current: z.string(), keys: passedThrough<PayloadKeys['keys']>() }))

const OPTIONS = shape((z) =>
  z.strictObject({
    database: passedThrough<Database<unknown>>(),
    topology: passedThrough<Topology | undefined>().optional(),
    schema: z.string().default('posthaste'),
    service: z.string().min(1).max(255).optional(),
    listenUrl: z.string().min(1).optional(),
    logger: passedThrough<Logger | undefined>().optional(),
    relay: z
      .strictObject({
        pollIntervalMs: milliseconds(10).optional(),
        chunk: wholeNumber(1, 100_000).optional(),
        drowsyMs: milliseconds().optional(),
        upkeepRoundMs: milliseconds(100).optional(),
      })
      .default({}),
    effects: passedThrough<EffectBodies | undefined>().optional(),
    payloadKeys: passedThrough<PayloadKeys | undefined>()
      .optional()
      .transform((given) => (given === undefined ? undefined : new Keyring(parseOptions(PAYLOAD_KEYS, given)))),
    retention: z
      .strictObject({
        outboxMs: milliseconds(1_000).default(DEFAULT_RETENTION.outboxMs),
        inboxMs: milliseconds(1_000).default(DEFAULT_RETENTION.inboxMs),
        deadLettersMs: milliseconds(1_000).default(DEFAULT_RETENTION.deadLettersMs),
        outboxBytes: wholeNumber(1, Number.MAX_SAFE_INTEGER).exactOptional(),
      })
      .prefault({}),
  }),
)

const START = shape((z) =>
  z.strictObject({
    relay: z.boolean().default(true),
    consumers: z.boolean().default(true),
  }),
)

/** What the side doors of a Posthaste, its test kit and its health, look at. @internal */
export interface Insides<Tx> {
  readonly context: Context<Tx>
  readonly retention: Kept
  readonly consumers: readonly Pick<Consumer<Tx, Guarantee>, 'queue' | 'drain'>[]
  readonly running: boolean
}

/** @internal */
export let insidesOf: <Tx>(posthaste: Posthaste<Tx>) => Insides<Tx>

const DECLARATIONS = 4

const STOP = shape((z) => z.strictObject({ timeoutMs: milliseconds().default(30_000) }))

/**
 * A transactional outbox and a message queue in your Postgres.
 *
 * If your COMMIT is durable, the message is durable; a message whose transaction rolled back never existed. Each (consumer,
 * message) is delivered at least once, and its effect inside the same Postgres is committed exactly once.
 *
 * ```ts
 * const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
 *
 * posthaste.consumer('billing').on(OrderPlaced, async ({ payload }, { tx }) => {
 *   await tx.query('insert into charges (order_id, cents) values ($1, $2)', [payload.orderId, payload.cents])
 * })
 *
 * await posthaste.start()
 * ```
 */
export class Posthaste<Tx, QueueName extends string = string> implements AsyncDisposable {
  /**
   * The effect ledger: calls to the outside that happen once. An operation is claimed before the provider is called, its
   * outcome is recorded in one transaction with your rows, and what nobody knows is never repeated blindly.
   *
   * ```ts
   * const charge = await posthaste.effects.run(`capture:${paymentId}`, {
   *   request: { cents },
   *   provider: acme,
   *   call: ({ idempotencyKey, signal }) => psp.capture({ paymentId, cents }, { idempotencyKey, signal }),
   *   reconcile: ({ idempotencyKey }) => psp.find(idempotencyKey),
   * })
   * ```
   */
  readonly effects: Effects
  readonly #context: Context<Tx>
  readonly #options: Parsed<typeof OPTIONS>
  readonly #topology: Topology
  readonly #store: TopologyStore
  readonly #outbox: Outbox
  readonly #relay: Relay
  readonly #claimLoop: ClaimLoop
  readonly #requests: Requests
  readonly #consumers: Pick<
    Consumer<Tx, Guarantee>,
    'queue' | 'contracts' | 'start' | 'stop' | 'drain' | 'check' | 'horizon'
  >[] = []
  readonly #lifecycle: Lifecycle<StopOptions>
  #starting: Parsed<typeof START> = parseOptions(START, {})
  readonly #health: HealthCheck
  #started = false
  #relaying = false

  static {
    insidesOf = (posthaste) => ({
      context: posthaste.#context,
      retention: posthaste.#options.retention,
      consumers: posthaste.#consumers,
      running: posthaste.#lifecycle.running,
    })
  }

  constructor(options: PosthasteOptions<Tx, QueueName>) {
    this.#options = parseOptions(OPTIONS, options)
    const { schema, service, listenUrl, logger, relay, retention, payloadKeys: keys } = this.#options
    const { database } = options
    const events = new EventBus()
    if (logger) events.onAny(logTo(logger))
    const instance = randomUUID()
    const tables = tablesOf(schema)
    const listener = new Listener({ database, events, instance, ...(listenUrl === undefined ? {} : { listenUrl }) })

    this.#topology = options.topology ?? defineTopology({ queues: {} })
    this.#context = {
      database,
      tables,
      events,
      listener,
      instance,
      keys,
      ...(listenUrl === undefined ? {} : { listenUrl }),
    }
    this.effects = new Effects(this.#context as Context, effectBodies(options.effects ?? {}))
    this.#store = new TopologyStore(this.#context, this.#topology, service)
    const expected = this.#topology.queues.some(({ flow }) => flow?.overflow === 'reject-publish')
    const full = new FullQueues({ database, tables, expected })
    this.#outbox = new Outbox({ tables, limits: this.#topology.limits, events, keys, full })
    this.#relay = new Relay(this.#context, { ...relay, retention } as RelayOptions)
    this.#claimLoop = new ClaimLoop(this.#context)
    this.#requests = new Requests(this.#context, this.#outbox)
    this.#health = new HealthCheck(this.#context as Context, () => this.#condition())
    this.#lifecycle = new Lifecycle({ start: () => this.#start(), stop: (given) => this.#stop(given) })
  }

  /**
   * Publishes in your transaction: the messages leave if it commits, and never existed if it rolls back.
   *
   * `tx` is a `pg` client after BEGIN, Kysely's `tx`, or anything with `query(text, values)` that runs in one transaction; a pool
   * or `db` is refused, at compile time where the types allow it and at run time always. Everything is checked before SQL.
   *
   * ```ts
   * await db.transaction().execute(async (tx) => {
   *   await tx.insertInto('orders').values(order).execute()
   *   await posthaste.publish(tx, OrderPlaced.create({ orderId, cents }))
   * })
   * ```
   */
  publish(tx: AnyTransaction, message: Publishable, options?: PublishOptions): Promise<Published>
  publish(tx: AnyTransaction, messages: readonly Publishable[], options?: PublishOptions): Promise<Published[]>
  publish(
    tx: AnyTransaction,
    given: Publishable | readonly Publishable[],
    options?: PublishOptions,
  ): Promise<Published | Published[]> {
    return this.#outbox.publish(tx, given, options)
  }

  /**
   * Consumes a queue. By default each message's effect, written with the handler's `tx`, is committed exactly once, together
   * with its end. Handlers come before `start()`.
   *
   * ```ts
   * posthaste
   *   .consumer('billing', { concurrency: 10 })
   *   .on(OrderPlaced, async ({ payload }, { tx }) => charge(tx, payload))
   * ```
   */
  consumer<const G extends Guarantee = 'exactly-once-effects'>(
    queue: QueueName,
    options: ConsumerOptions<G> = {},
  ): Consumer<Tx, G> {
    if (this.#lifecycle.running) throw new AlreadyStarted(`consumer of ${queue}`)
    const consumer = new Consumer<Tx, G>(
      {
        context: this.#context,
        outbox: this.#outbox,
        claims: this.#claimLoop,
        queue: this.#settingsOf(queue),
        number: () => this.#store.numberOf(queue),
        admit: (contract) => this.#store.admit(queue, contract),
        wakeRelay: () => this.#wakeRelay(),
      },
      options,
    )
    this.#consumers.push(consumer)
    return consumer
  }

  /**
   * The processed ids of a consumer, for messages that come from elsewhere: a webhook, another broker.
   *
   * ```ts
   * const result = await posthaste.inbox('payments').once(tx, event.id, async () => book(tx, event))
   * ```
   */
  inbox(consumer: string): Inbox {
    return new Inbox(this.#context.tables, consumer)
  }

  /**
   * Publishes a request in a transaction of its own and waits for the reply, which a handler of `consumer.reply` commits together
   * with its effects. A `RequestTimeout` when none came in time; one that comes later is counted and dropped.
   *
   * ```ts
   * const { cents } = await posthaste.request(GetQuote, { sku: 'teapot' }, { timeoutMs: 2_000 })
   * ```
   */
  async request<Name extends string, In, Out, ReplyIn, ReplyOut>(
    contract: RequestContract<Name, In, Out, ReplyIn, ReplyOut>,
    payload: In,
    options?: RequestOptions,
  ): Promise<ReplyOut> {
    return (await this.#requests.request(contract as AnyRequestContract, payload, options)) as ReplyOut
  }

  /**
   * One queue, for those who operate it: status, what is in it, pause and purge, dead letters, and pulling from it.
   *
   * ```ts
   * await posthaste.queue('billing').pause({ forMs: 600_000, reason: 'the bank is down' })
   * ```
   */
  queue(name: QueueName): Queue<Tx> {
    const place = {
      context: this.#context,
      claims: this.#claimLoop,
      outbox: this.#outbox,
      wakeRelay: () => this.#wakeRelay(),
      drain: (queue: string, options: Required<DrainOptions>) => this.#drain(queue, options),
    }
    return new Queue(place, name)
  }

  /**
   * One stream, for those who operate it: the groups that read it, where they are, what they have put aside.
   *
   * ```ts
   * await posthaste.stream('ledger').group('fraud').pause()
   * ```
   */
  stream(name: QueueName): Stream {
    return new Stream({ context: this.#context as Context, claims: this.#claimLoop }, name)
  }

  /**
   * Everything that is committed from now on, whatever its exchange and whether any queue gets it: for people who watch. As
   * `stream(…).read()`, but that it looks four times a second.
   *
   * ```ts
   * for await (const { type, key } of posthaste.tail({ exchange: 'orders', routingKey: '#.failed', signal })) console.log(type, key)
   * ```
   */
  tail(options?: ReadOptions): AsyncGenerator<MessageFacts, void, undefined> {
    return readLog({ context: this.#context as Context, claims: this.#claimLoop, stream: null }, options)
  }

  /**
   * Judges what handlers of streams have written down, by the log: of each group whether every message that it has passed was handled,
   * once, and those of a key in their order. `handledRecord` reads a line of such a file; `posthaste verify` does it all.
   *
   * ```ts
   * const { ok, groups } = await posthaste.verify([{ line: 1, group: 'fraud', key: 'o1', messageId: id }], { stream: 'ledger' })
   * ```
   */
  verify(records: Iterable<HandledLine> | AsyncIterable<HandledLine>, options?: VerifyOptions): Promise<Verdict> {
    return verify(this.#context as Context, records, options)
  }

  /**
   * Declares a recurring message, stored under its name: each tick of the cron expression publishes one message, whose headers
   * `schedule` and `tick` say which, exactly once however many relays run. Answers when the next tick is. Declaring it again
   * with the same expression changes nothing but the message.
   *
   * ```ts
   * await posthaste.schedule('close-books', '0 3 * * *', CloseBooks.create({}), { timeZone: 'Europe/Berlin' })
   * ```
   */
  schedule(name: string, cron: string, message: Publishable, options?: ScheduleOptions): Promise<Date> {
    return this.schedules.put(name, cron, message, options)
  }

  /** The recurring messages. */
  get schedules(): Schedules {
    return new Schedules(this.#context, { outbox: this.#outbox, owner: this.#options.service })
  }

  /**
   * Takes back messages that wait for their time, in your transaction: it and its deliveries stay or go together. Answers how
   * many deliveries were taken back, over all queues; what is due already, or not routed yet, is not among them.
   *
   * ```ts
   * await posthaste.cancel(tx, reminderId)
   * ```
   */
  cancel(tx: AnyTransaction, messageId: string | readonly string[]): Promise<{ readonly cancelled: number }> {
    return this.#outbox.cancel(tx, [messageId].flat())
  }

  /** The dead letters of all queues. */
  get deadLetters(): DeadLetters {
    return new DeadLetters(this.#context, { wakeRelay: () => this.#wakeRelay() })
  }

  /**
   * What became of a message: what was published, where it was routed, every attempt, who processed it, and what was published
   * because of it; undefined when nothing is known of this id.
   *
   * ```ts
   * const { deliveries, children } = (await posthaste.trace(id))!
   * ```
   */
  trace(messageId: string, options?: TraceOptions): Promise<Trace | undefined> {
    return trace(this.#context, messageId, options)
  }

  /**
   * Takes the payload of a message away wherever it stands: in the log, in dead letters and the copies their routes published, in
   * what errors say of it. Its id, key, headers and times stay, and so does the account; a delivery that is still to be attempted
   * becomes a dead letter, `erased`. The journal says who did it.
   *
   * ```ts
   * await posthaste.erase(id, { by: 'ada' })
   * ```
   */
  erase(messageId: string, options?: EraseOptions): Promise<Erased> {
    return erase(this.#context, messageId, options)
  }

  /** Who did what by hand, the newest first: redrives, purges, erasures. Kept for a year. */
  journal(options?: JournalOptions): Promise<Act[]> {
    return journal(this.#context, options)
  }

  /** Declares the topology: adds what is missing, removes nothing, refuses what another process declared differently unless forced. */
  async declare(options?: DeclareOptions): Promise<void> {
    for (const { contracts } of this.#consumers) this.#store.know(contracts)
    await this.#store.declare(options)
  }

  /** What is declared in the database, by all services that share it. */
  topology(): Promise<StoredTopology> {
    return this.#store.stored()
  }

  /** What declaring this topology would change or refuse. */
  topologyDiff(): Promise<TopologyDiff> {
    return this.#store.diff()
  }

  /** Removes a binding; says whether it was there. What was routed before stays in the queue. */
  unbind(binding: Parameters<TopologyStore['unbind']>[0]): Promise<boolean> {
    return this.#store.unbind(binding)
  }

  /**
   * The account of every message, in one snapshot; its difference is 0, also while everything runs.
   *
   * ```ts
   * if ((await posthaste.audit()).difference !== 0) throw new Error('a message is unaccounted for')
   * ```
   */
  audit(): Promise<Audit> {
    return audit(this.#context)
  }

  /** Where everything stands: queues, relay, partitions. */
  status(): Promise<Status> {
    return status(this.#context)
  }

  /**
   * Subscribes to an event; the answer unsubscribes. A listener that throws harms nobody.
   *
   * ```ts
   * const off = posthaste.on('dead-lettered', ({ queue, reason }) => log.info(`${queue}: ${reason}`))
   * ```
   */
  on<Name extends EventName>(name: Name, listener: EventListener<Name>): () => void {
    return this.#context.events.on(name, listener)
  }

  /**
   * The next event of this name that the predicate accepts; an `EventTimeout` after ten seconds, or `timeoutMs`. Ask before the event
   * can come.
   *
   * ```ts
   * const completed = posthaste.until('completed', ({ queue }) => queue === 'billing')
   * ```
   */
  until<Name extends EventName>(
    name: Name,
    predicate?: (event: Events[Name]) => boolean,
    options?: UntilOptions,
  ): Promise<Events[Name]> {
    return this.#context.events.until(name, predicate, options)
  }

  /** Declares the topology, then starts the relay and the consumers. Twice is once. */
  async start(options: StartOptions = {}): Promise<void> {
    const parsed = parseOptions(START, options)
    if (!this.#lifecycle.running) this.#starting = parsed
    await this.#lifecycle.start()
  }

  /**
   * Stops: nothing new is begun, handlers finish; at the deadline their signals fire, then their transactions are rolled back
   * and what they held is free for others. Twice is once.
   */
  async stop(options: StopOptions = {}): Promise<void> {
    await this.#lifecycle.stop(parseOptions(STOP, options))
  }

  /**
   * Whether this process may be sent work: it has started and does not stop, and the database answers. It never rejects. What
   * supervisors ask over HTTP is answered by `healthHandler(posthaste)`.
   *
   * ```ts
   * const { ready, checks } = await posthaste.health()
   * ```
   */
  health(): Promise<Health> {
    return this.#health.health()
  }

  /** `stop()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #start(): Promise<void> {
    const { relay, consumers } = this.#starting
    this.#refuseForgetfulInbox()
    for (const consumer of this.#consumers) consumer.check()
    await this.#declareDespiteCuts()
    this.#context.listener.start()
    if (relay) await this.#relay.start()
    this.#relaying = relay
    if (consumers) await Promise.all(this.#consumers.map((consumer) => consumer.start()))
    this.#started = true
  }

  // Declaring twice is declaring once: a connection that is cut in the middle is no reason not to start.
  async #declareDespiteCuts(): Promise<void> {
    const backoff = new Backoff()
    for (;;) {
      try {
        return await this.declare()
      } catch (error) {
        if (!wasCut(error) || backoff.failures === DECLARATIONS - 1) throw error
        await sleep(backoff.next())
      }
    }
  }

  async #drain(queue: string, { maxMessages, deadlineMs }: Required<DrainOptions>): Promise<Drained> {
    const consumer = this.#consumers.find((each) => each.queue === queue)
    if (!consumer)
      throw new NotSupported('drain', `this process has no consumer of queue "${queue}", and so no handlers`)
    if (this.#lifecycle.running) throw new NotSupported('drain', 'the consumers of this process are running')
    const startedAt = performance.now()
    const errand = new Errand(this.#context, this.#options.retention)
    const drained = await consumer.drain({ maxMessages, deadlineMs, move: () => errand.move() })
    const leftMs = deadlineMs - (performance.now() - startedAt)
    const over = new AbortController()
    await within(leftMs, errand.upkeep(over.signal))
    over.abort()
    return drained
  }

  async #stop(options: StopOptions = {}): Promise<void> {
    this.#started = false
    await Promise.all(this.#consumers.map((consumer) => consumer.stop(options)))
    await this.#requests.stop()
    await this.#relay.stop()
    this.#relaying = false
    await this.#context.listener.stop()
  }

  #condition(): Condition {
    const relay = this.#relay.onDuty ? 'on-duty' : 'standing-by'
    return { started: this.#started && this.#lifecycle.running, relay: this.#relaying ? relay : 'none' }
  }

  // The relay of another process is woken by a notification, which the relay of this one does by itself when it is not on duty.
  #wakeRelay(): void {
    if (this.#relaying) this.#relay.wake()
    else this.#relay.nudge()
  }

  #settingsOf(queue: string): QueueSettings {
    const settings = this.#topology.queues.find(({ name }) => name === queue)
    if (!settings)
      throw new UnknownQueue(
        queue,
        this.#topology.queues.map(({ name }) => name),
      )
    return settings
  }

  #refuseForgetfulInbox(): void {
    const { inboxMs, outboxMs } = this.#options.retention
    if (inboxMs < outboxMs)
      throw new RetentionTooShort(inboxMs, outboxMs, `the log keeps messages that long (retention.outboxMs), which`)
    for (const { name, retry } of this.#topology.queues) {
      const neededMs = longestRetryMs(retry)
      if (inboxMs < neededMs)
        throw new RetentionTooShort(
          inboxMs,
          neededMs,
          `retrying in queue "${name}" (its retry.maxAttempts and retry.maxMs)`,
        )
    }
    for (const { horizon } of this.#consumers) {
      const neededMs = horizonMs(horizon)
      if (inboxMs < neededMs)
        throw new RetentionTooShort(
          inboxMs,
          neededMs,
          `the consumer of "${horizon.queue}" (retry.maxAttempts and retry.maxMs, its timeoutMs and leaseMs)`,
        )
    }
  }
}

/** The connection was there, and was lost in the middle; a server that cannot be reached at all is another matter. */
function wasCut(error: unknown): boolean {
  if (hasCode(error, 'DATABASE_UNREACHABLE')) return false
  return isConnectionLoss(error) || hasCode(error, 'COMMIT_UNKNOWN')
}
