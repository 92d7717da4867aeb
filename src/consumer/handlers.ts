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
  ): Step {
    const ended = withoutAttempt(row, flow.settings)
    if (ended) return ended
    const known = this.#byType.get(row.body!.type)
    if (!known) return this.#unknown(row, queue, attempt)
    const { contract } = known
    const { version } = row.body!
    if (version > contract.version) return refused(new UnknownVersion(contract.name, version, contract.version), queue)
    return this.#opened(row, queue, attempt, (payload) => read(row, queue, attempt, known, payload))
  }

  // Who has no keys and knows no contract, an archive for example, gets what is stored.
  #unknown(row: Claimed, queue: QueueSettings, attempt: number): Step {
    const handler = this.#otherwise
    if (!handler) return unattemptable('unknown-type')
    const next = (payload: unknown) => open(row, queue, attempt, { handler, batch: false }, payload)
    return this.#keys ? this.#opened(row, queue, attempt, next) : next(plainPayload(row))
  }

  #opened(row: Claimed, { retry }: QueueSettings, attempt: number, next: (payload: unknown) => Step): Step {
    let payload: unknown
    try {
      payload = clearPayload(row, this.#keys)
    } catch (error) {
      return locked(error, attempt, retry)
    }
    if (!(payload instanceof Promise)) return next(payload)
    return payload.then(next, (error) => locked(error, attempt, retry))
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

/** It may take a while: a key that is looked for, a schema that asks somebody. */
type Step = Prepared | Verdict | Promise<Prepared | Verdict>

// Synchronous if the schema is.
function read(row: Claimed, queue: QueueSettings, attempt: number, known: Known, payload: unknown): Step {
  let reading: unknown
  try {
    reading = known.contract.parse(payload, row.body!.version)
  } catch (error) {
    return refused(error, queue)
  }
  if (!(reading instanceof Promise)) return open(row, queue, attempt, known, reading)
  return reading.then(
    (payload) => open(row, queue, attempt, known, payload),
    (error) => refused(error, queue),
  )
}

function refused(error: unknown, queue: QueueSettings): Verdict {
  return isForNewer(error, queue) ? leftToNewer(error) : unreadable(error)
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
