import { AlreadyStarted, DuplicateHandler, UnknownVersion } from '../errors.ts'
import type { Claimed } from '../postgres/claim.ts'
import type { AnyContract } from '../rules/contract.ts'
import { type Delivery, openDelivery } from '../rules/delivery.ts'
import type { Keyring } from '../rules/encryption.ts'
import type { CompleteOutcome, Outcome } from '../rules/outcome.ts'
import type { QueueSettings } from '../rules/topology.ts'
import { clearPayload, factsOf, plainPayload } from './facts.ts'
import type { Flow } from './flow.ts'
import { leftToNewer, locked, unattemptable, unreadable, type Verdict, withoutAttempt } from './verdict.ts'

/** What a handler may answer: nothing, or an outcome made by its delivery. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing is what most are
export type Answer = Outcome | void

/**
 * Handles one delivery. What it resolves to is the outcome: nothing for done, or one of the delivery's own (`return delivery.retry()`).
 * An accident is thrown, and charged as a failed attempt; an outcome that is made and not returned is one, too.
 *
 * ```ts
 * import type { ExactlyOnceContext, Handler } from 'posthaste'
 * import type { Transaction } from 'kysely'
 *
 * const invoice: Handler<{ orderId: string }, ExactlyOnceContext<Transaction<Shop>>> = async (delivery, { tx }) => {
 *   if (await isClosed(tx)) return delivery.retry({ delayMs: 60_000 })
 *   await charge(tx, delivery.payload)
 * }
 * ```
 */
export type Handler<Payload, Context> = (delivery: Delivery<Payload>, context: Context) => Promise<Answer> | Answer

/** What a handler of several deliveries may answer: nothing, or outcomes by the ids of their deliveries; the others are done. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing is what most are
export type BatchAnswer = ReadonlyMap<string, Outcome> | void

/**
 * Handles several deliveries of one contract together. It resolves to nothing when all are done, or to a `Map` from message ids to
 * outcomes; what the map does not name is done.
 */
export type BatchHandler<Payload, Context> = (
  deliveries: readonly Delivery<Payload>[],
  context: Context,
) => Promise<BatchAnswer> | BatchAnswer

type AnyHandler = Handler<never, never>
type AnyBatchHandler = BatchHandler<never, never>

interface Known {
  readonly contract: AnyContract
  readonly handler: AnyHandler
  readonly batch: boolean
}

/** A delivery that is to be attempted, with who does it. */
export interface Prepared {
  readonly handler: Handler<unknown, unknown>
  /** The handler gets it together with others of its contract. */
  readonly batch: boolean
  readonly delivery: Delivery
  settle(returned: unknown): Outcome | CompleteOutcome
}

/** Who handles what. It is complete when the consumer starts. */
export class Handlers {
  readonly #queue: string
  readonly #byType = new Map<string, Known>()
  #otherwise: AnyHandler | undefined
  readonly #keys: Keyring | undefined
  #batched = false
  #sealed = false

  constructor(queue: string, keys?: Keyring | undefined) {
    this.#queue = queue
    this.#keys = keys
  }

  get contracts(): readonly AnyContract[] {
    return [...this.#byType.values()].map(({ contract }) => contract)
  }

  /** Whether some handlers get several deliveries in one call. */
  get batched(): boolean {
    return this.#batched
  }

  on(contract: AnyContract, handler: AnyHandler): void {
    this.#add(contract, { contract, handler, batch: false })
  }

  onBatch(contract: AnyContract, handler: AnyBatchHandler): void {
    this.#add(contract, { contract, handler: handler as unknown as AnyHandler, batch: true })
    this.#batched = true
  }

  otherwise(handler: AnyHandler): void {
    this.#refuseWhenSealed()
    if (this.#otherwise) throw new DuplicateHandler(this.#queue, 'otherwise')
    this.#otherwise = handler
  }

  seal(): void {
    this.#sealed = true
  }

  /** Who is to attempt a delivery, or what becomes of it without an attempt. */
  prepare(
    row: Claimed,
    { queue, flow }: { readonly queue: QueueSettings; readonly flow: Flow },
    attempt: number,
  ): Prepared | Verdict | Promise<Prepared | Verdict> {
    const ended = withoutAttempt(row, flow.settings)
    if (ended) return ended
    const known = this.#byType.get(row.body!.type)
    if (!known) return this.#unknown(row, queue, attempt)
    const { contract } = known
    const refuse = (error: unknown) => (isForNewer(error, queue) ? leftToNewer(error) : unreadable(error))
    if (row.body!.version > contract.version)
      return refuse(new UnknownVersion(contract.name, row.body!.version, contract.version))
    return then(this.#opened(row), {
      next: (payload) => {
        const reading = attemptTo(() => contract.parse(payload, row.body!.version))
        return then(reading, { next: (read) => open(row, queue, attempt, known, read), refuse })
      },
      refuse: (error) => locked(error, attempt, queue.retry),
    })
  }

  // Who has no keys and knows no contract, an archive for example, gets what is stored.
  #unknown(row: Claimed, queue: QueueSettings, attempt: number): Prepared | Verdict | Promise<Prepared | Verdict> {
    const handler = this.#otherwise
    if (!handler) return unattemptable('unknown-type')
    const payload = this.#keys ? this.#opened(row) : { value: plainPayload(row) }
    return then(payload, {
      next: (value) => open(row, queue, attempt, { handler, batch: false }, value),
      refuse: (error) => locked(error, attempt, queue.retry),
    })
  }

  #opened(row: Claimed): Tried {
    return attemptTo(() => clearPayload(row, this.#keys))
  }

  #add(contract: AnyContract, known: Known): void {
    this.#refuseWhenSealed()
    if (this.#byType.has(contract.name)) throw new DuplicateHandler(this.#queue, contract.name)
    this.#byType.set(contract.name, known)
  }

  #refuseWhenSealed(): void {
    if (this.#sealed) throw new AlreadyStarted(`consumer of ${this.#queue}`)
  }
}

/** What came of a step that may be asynchronous: its value, or what it threw. */
type Tried = { readonly value: unknown } | { readonly error: unknown } | Promise<{ readonly value: unknown }>

type Step = Prepared | Verdict | Promise<Prepared | Verdict>

function attemptTo(step: () => unknown): Tried {
  try {
    const value = step()
    return value instanceof Promise ? value.then((settled) => ({ value: settled })) : { value }
  } catch (error) {
    return { error }
  }
}

function then(
  tried: Tried,
  { next, refuse }: { readonly next: (value: unknown) => Step; readonly refuse: (error: unknown) => Verdict },
): Step {
  if (tried instanceof Promise) return tried.then(({ value }) => next(value), refuse)
  return 'error' in tried ? refuse(tried.error) : next(tried.value)
}

function isForNewer(error: unknown, { newerVersions }: QueueSettings): error is UnknownVersion {
  return newerVersions !== 'dead-letter' && error instanceof UnknownVersion && error.version > error.known
}

function open(
  row: Claimed,
  queue: QueueSettings,
  attempt: number,
  { handler, batch }: Pick<Known, 'handler' | 'batch'>,
  payload: unknown,
): Prepared {
  const { delivery, settle } = openDelivery(factsOf(row, { queue, attempt, payload }))
  return { handler: handler as Handler<unknown, unknown>, batch, delivery, settle }
}
