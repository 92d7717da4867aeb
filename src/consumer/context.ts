import type { Guarded } from '../database.ts'
import { TransactionOver } from '../errors.ts'
import type { Publishable, Published } from '../outbox.ts'
import { type Queryable, run as runQuery } from '../postgres/queryable.ts'
import type { PublishOptions } from '../rules/message.ts'
import type { Attempt } from './attempt.ts'
import { REPLY, type ReplyContext } from './replying.ts'
import type { Savepoint } from './savepoint.ts'
import type { Seat } from './seat.ts'

/**
 * What a handler's success is worth, and so when the claim is committed: together with the effect (`exactly-once-effects`), as a
 * lease before the handler (`at-least-once`), or for good before the handler (`at-most-once`). The context of a handler follows it.
 *
 * ```ts
 * posthaste.consumer('cards', { guarantee: 'at-least-once' }).on(Paid, async ({ payload }, { complete }) => {
 *   await complete((tx) => book(tx, payload)) // no transaction is open before this
 * })
 * ```
 */
export type Guarantee = 'exactly-once-effects' | 'at-least-once' | 'at-most-once'

/** Publishes in the transaction of the attempt; what is published belongs to the delivery's conversation, as caused by it. */
export interface PublishInAttempt {
  (message: Publishable, options?: PublishOptions): Promise<Published>
  (messages: readonly Publishable[], options?: PublishOptions): Promise<Published[]>
}

/** What a handler of an exactly-once-effects consumer gets beside the delivery. */
export interface ExactlyOnceContext<Tx> {
  /** The transaction of this delivery: what you write in it is committed with the delivery's end, or not at all. It cannot be ended by you. */
  readonly tx: Tx
  readonly publish: PublishInAttempt
  /** Fires when the attempt's time is over, or the consumer stops for good. */
  readonly signal: AbortSignal
}

/** What a handler of an at-least-once consumer gets beside the delivery. */
export interface AtLeastOnceContext<Tx> {
  /**
   * Completes the delivery in a transaction of its own: your effect, the inbox row and the end of the delivery are committed
   * together, once per message. When the lease was lost meanwhile, nothing is: `LeaseLost`. For a message that was processed
   * before, `work` is not called and the answer is undefined.
   */
  complete<Result = void>(work?: (tx: Tx, publish: PublishInAttempt) => Promise<Result>): Promise<Result | undefined>
  /** Gives the attempt more time: so many milliseconds from now, and the lease as long. */
  extend(ms: number): Promise<void>
  /** Fires when the attempt's time is over, its lease is lost, or the consumer stops for good. */
  readonly signal: AbortSignal
}

/** What a handler of an at-most-once consumer gets beside the delivery. */
export interface AtMostOnceContext {
  /** Fires when the attempt's time is over, or the consumer stops for good. */
  readonly signal: AbortSignal
}

/** The context of a handler, by the guarantee of its consumer. */
export type ContextOf<G extends Guarantee, Tx> = G extends 'exactly-once-effects'
  ? ExactlyOnceContext<Tx>
  : G extends 'at-least-once'
    ? AtLeastOnceContext<Tx>
    : AtMostOnceContext

/** What a handler of several deliveries at once gets beside them. */
export type BatchContextOf<G extends Guarantee, Tx> = G extends 'at-least-once'
  ? Omit<AtLeastOnceContext<Tx>, 'complete'>
  : ContextOf<G, Tx>

/** What a message was published because of. */
export interface Cause {
  readonly id: string | undefined
  readonly correlationId: string | undefined
}

/** What the attempts of one transaction stand on. */
export interface Ground<Tx> {
  readonly tx: Tx
  readonly queryable: Queryable
  readonly savepoint: Savepoint
}

/** As much of it as a handler reaches. */
type LendableGround<Tx> = Omit<Ground<Tx>, 'savepoint'> & { readonly savepoint: Pick<Savepoint, 'set'> }

/** A context, and the end of what it lends. */
export interface Lent<Context> {
  readonly context: Context
  revoke(): void
}

/** The transaction is lent when the handler first reaches for it: one that does not costs no savepoint and no guard. */
export function lendTransaction<Tx>(
  seat: Seat<Tx>,
  run: Attempt,
  cause: Cause,
  ground: LendableGround<Tx>,
): Lent<ExactlyOnceContext<Tx>> {
  const lent = new LentTransaction(seat, run, cause, ground)
  return { context: lent, revoke: () => lent[REVOKE]() }
}

const REVOKE = Symbol('revoke')

// One for each attempt: what most handlers do not ask for is made when they do.
class LentTransaction<Tx> implements ExactlyOnceContext<Tx>, ReplyContext {
  readonly #seat: Seat<Tx>
  readonly #run: Attempt
  readonly #cause: Cause
  readonly #ground: LendableGround<Tx>
  #over = false
  #guarded: Guarded<Tx> | undefined

  constructor(seat: Seat<Tx>, run: Attempt, cause: Cause, ground: LendableGround<Tx>) {
    this.#seat = seat
    this.#run = run
    this.#cause = cause
    this.#ground = ground
  }

  get tx(): Tx {
    this.#enter()
    this.#guarded ??= this.#seat.context.database.guard(this.#ground.tx)
    return this.#guarded.tx
  }

  get publish(): PublishInAttempt {
    const publish = async (messages: Publishable | readonly Publishable[], options?: PublishOptions) => {
      this.#enter()
      return await this.#seat.outbox.publishIn(this.#ground.queryable, messages, causedBy(this.#cause, options))
    }
    return publish as PublishInAttempt
  }

  get signal(): AbortSignal {
    return this.#run.signal
  }

  get [REPLY](): ReplyContext[typeof REPLY] {
    return async (query) => {
      this.#enter()
      return (await runQuery(this.#ground.queryable, query))[0]
    }
  }

  [REVOKE](): void {
    this.#over = true
    this.#guarded?.revoke()
  }

  #enter(): void {
    if (this.#over) throw new TransactionOver()
    this.#ground.savepoint.set()
  }
}

/** A message that a handler publishes continues the conversation of the one it handles. */
export function causedBy({ id, correlationId = id }: Cause, options: PublishOptions = {}): PublishOptions {
  return { correlationId, causationId: id, ...options }
}
