import { LeaseLost } from '../errors.ts'
import type { Publishable } from '../outbox.ts'
import type { Claimed } from '../postgres/claim.ts'
import { remember } from '../postgres/inbox.ts'
import { settleLeased } from '../postgres/leases.ts'
import { type Queryable, run } from '../postgres/queryable.ts'
import type { DeliveryFacts } from '../rules/delivery.ts'
import type { PublishOptions } from '../rules/message.ts'
import { Attempt } from './attempt.ts'
import { causedBy, type PublishInAttempt } from './context.ts'
import type { Lease } from './leases.ts'
import type { InAttempt } from './replying.ts'
import { report, type Seat } from './seat.ts'
import { COMPLETED, settledOf } from './verdict.ts'

type Work<Tx, Result> = (tx: Tx, publish: PublishInAttempt) => Promise<Result>
type Effect<Tx, Result> = (tx: Tx, queryable: Queryable) => Promise<Result>

/** Of the consumer, what a completion needs. */
export type CompletionSeat<Tx> = Pick<Seat<Tx>, 'context' | 'outbox'> & { readonly queue: { readonly name: string } }

/**
 * Lets a leased handler commit its effect, the inbox row and the end of the delivery together.
 *
 *     BEGIN; inbox row; the effect; settle with the token; COMMIT
 *
 * The inbox row makes it once per message; the token, looked at last, makes it ours: a lease that was lost meanwhile settles
 * nothing, and the effect is rolled back with `LeaseLost`.
 */
export class Completion<Tx> {
  readonly #seat: CompletionSeat<Tx>
  readonly #lease: Lease
  readonly #row: Claimed
  readonly #delivery: DeliveryFacts
  readonly #open = new Set<Tx>()
  readonly #underWay = new Set<Promise<unknown>>()
  #over = false
  #done = false
  #failure: { readonly error: unknown } | undefined

  constructor(seat: CompletionSeat<Tx>, lease: Lease, row: Claimed, delivery: DeliveryFacts) {
    this.#seat = seat
    this.#lease = lease
    this.#row = row
    this.#delivery = delivery
  }

  /** Committed: the delivery has ended. */
  get done(): boolean {
    return this.#done
  }

  readonly complete = <Result>(work?: Work<Tx, Result>): Promise<Result | undefined> => {
    const completing = this.#commit(work && ((tx, queryable) => this.#lent(tx, queryable, work)))
    this.#underWay.add(completing)
    const failed = (error: unknown) => {
      this.#failure = { error }
    }
    completing.catch(failed).finally(() => this.#underWay.delete(completing))
    return completing
  }

  /** Runs a statement with the end of the delivery; or after it, when the handler has completed the delivery itself. */
  readonly reply: InAttempt = async (query) => {
    const { database } = this.#seat.context
    if (this.#done) return (await run(database, query))[0]
    return await this.#commit(async (_, queryable) => (await run(queryable, query))[0])
  }

  /** For a handler that has returned: waits for what it has not awaited. Throws when it completed and nothing was committed. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#underWay)
    if (!this.#done && this.#failure) throw this.#failure.error
  }

  /** Nothing that is still under way can be committed from here on. */
  async revoke(): Promise<void> {
    this.#over = true
    const { database } = this.#seat.context
    await Promise.all([...this.#open].map((tx) => database.abandon(tx).catch((error) => report(this.#seat, error))))
  }

  async #commit<Result>(work: Effect<Tx, Result> | undefined): Promise<Result | undefined> {
    this.#refuseWhenOver()
    const result = await this.#seat.context.database.transaction(async (tx) => {
      this.#open.add(tx)
      try {
        return await this.#fenced(tx, work)
      } finally {
        this.#open.delete(tx)
      }
    })
    this.#done = true
    return result
  }

  async #fenced<Result>(tx: Tx, work: Effect<Tx, Result> | undefined): Promise<Result | undefined> {
    const { context, queue } = this.#seat
    const queryable = context.database.queryable(tx)
    const noted = remember(context.tables, { messageId: this.#row.messageId, consumer: queue.name })
    const [inbox] = await run(queryable, noted)
    const result = inbox?.fresh && work ? await work(tx, queryable) : undefined
    this.#refuseWhenOver()
    Attempt.current?.refuseOwed()
    const settled = await run(queryable, this.#settlement())
    if (settled.length === 0) throw this.#lost()
    return result
  }

  async #lent<Result>(tx: Tx, queryable: Queryable, work: Work<Tx, Result>): Promise<Result> {
    const guarded = this.#seat.context.database.guard(tx)
    const publish = (messages: Publishable | readonly Publishable[], options?: PublishOptions) =>
      this.#seat.outbox.publishIn(queryable, messages, causedBy(this.#delivery, options))
    try {
      return await work(guarded.tx, publish as PublishInAttempt)
    } finally {
      guarded.revoke()
    }
  }

  #settlement() {
    const { context, queue } = this.#seat
    const outcome = settledOf({ row: this.#row, attempt: this.#row.attempts, verdict: COMPLETED, durationMs: 0 })
    const facts = { ...this.#lease.held, consumer: queue.name, outcomes: [outcome], inbox: false }
    return settleLeased(context.tables, facts)
  }

  #refuseWhenOver(): void {
    if (this.#over || this.#lease.lost) throw this.#lost()
  }

  #lost(): LeaseLost {
    return this.#lease.lost ?? new LeaseLost(this.#seat.queue.name, this.#lease.id)
  }
}
