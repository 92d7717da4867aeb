import { Completion } from '../consumer/completion.ts'
import type { PublishInAttempt } from '../consumer/context.ts'
import type { Lease } from '../consumer/leases.ts'
import { type Judged, settledOf, tell, verdictOf } from '../consumer/verdict.ts'
import type { Context } from '../context.ts'
import { InvalidOption, LeaseLost } from '../errors.ts'
import type { Outbox } from '../outbox.ts'
import type { Claimed } from '../postgres/claim.ts'
import { extendLease, settleLeased } from '../postgres/leases.ts'
import { run } from '../postgres/queryable.ts'
import type { StoredQueue } from '../postgres/topology.ts'
import type { DeliveryFacts } from '../rules/delivery.ts'
import { type Outcome, Outcomes, type RetryRequest } from '../rules/outcome.ts'
import { TEN_YEARS_MS } from '../rules/validate.ts'

/**
 * A delivery that the caller has leased: it is his to settle until the lease's time is over. What settles too late is a
 * `LeaseLost` and settles nothing.
 */
export interface PulledDelivery<Tx = unknown> extends DeliveryFacts {
  /** It was attempted before, or held by a process that ended. */
  readonly redelivered: boolean
  /** When others may have it, by the database's clock; `extend` moves it. */
  readonly leasedUntil: Date

  /**
   * Done. With work, its effect, the inbox row and the end of the delivery are committed together, once per message; for a message
   * that was processed before, the work is not called and the answer is undefined.
   */
  complete<Result = void>(work?: (tx: Tx, publish: PublishInAttempt) => Promise<Result>): Promise<Result | undefined>
  /** Puts it back for another attempt, after the queue's backoff unless told when; after the last one it is a dead letter. */
  retry(request?: RetryRequest): Promise<void>
  /** Keeps it among the dead letters, with your reason. */
  deadLetter(reason: string): Promise<void>
  /** Ends it: nothing is to be done, now or later. */
  discard(reason: string): Promise<void>
  /** So many milliseconds more, from now, for all deliveries that were received together. */
  extend(leaseMs: number): Promise<void>
}

export interface PulledPlace<Tx> {
  readonly context: Context<Tx>
  readonly outbox: Pick<Outbox, 'publishIn'>
  wakeRelay(): void
}

export interface PulledFacts {
  readonly queue: StoredQueue
  readonly lease: Lease
  readonly row: Claimed
  readonly facts: DeliveryFacts
  readonly leasedUntil: Date
}

/** A delay the relay would notice by itself. */
const NOTICED_MS = 1_000

/** Makes the delivery that `receive` hands out. */
export class Pulled<Tx> {
  readonly lease: Lease
  readonly #place: PulledPlace<Tx>
  readonly #facts: PulledFacts
  readonly #outcomes = new Outcomes()
  readonly #startedAt = performance.now()
  #leasedUntil: Date

  constructor(place: PulledPlace<Tx>, facts: PulledFacts) {
    this.#place = place
    this.#facts = facts
    this.#leasedUntil = facts.leasedUntil
    this.lease = facts.lease
  }

  get position(): string {
    return this.#facts.row.position
  }

  get delivery(): PulledDelivery<Tx> {
    const { facts, row } = this.#facts
    const until = () => this.#leasedUntil
    return {
      ...facts,
      redelivered: facts.attempt > 1 || row.crashes > 0,
      get leasedUntil() {
        return until()
      },
      complete: (work) => this.#complete(work),
      retry: (request) => this.#settle(this.#outcomes.retry(request)),
      deadLetter: (reason) => this.#settle(this.#outcomes.deadLetter(reason)),
      discard: (reason) => this.#settle(this.#outcomes.discard(reason)),
      extend: (leaseMs) => this.#extend(leaseMs),
    }
  }

  /** Renews the lease; false when it is lost. */
  async renewed(leaseMs: number): Promise<boolean> {
    const { context } = this.#place
    const askedAt = performance.now()
    const [extended] = await run(context.database, extendLease(context.tables, { ...this.lease.held, leaseMs }))
    if (!extended) this.lease.lose()
    else {
      this.lease.renewed(askedAt + leaseMs)
      this.#leasedUntil = extended.expiresAt
    }
    return extended !== undefined
  }

  async #complete<Result>(work?: (tx: Tx, publish: PublishInAttempt) => Promise<Result>): Promise<Result | undefined> {
    const { context, outbox } = this.#place
    const { queue, row, facts } = this.#facts
    const completion = new Completion({ context, outbox, queue }, this.lease, row, facts)
    const result = await completion.complete(work)
    this.#tell({ kind: 'completed', duplicate: false })
    return result
  }

  async #settle(outcome: Outcome): Promise<void> {
    const { context } = this.#place
    const { queue, row } = this.#facts
    const verdict = verdictOf(outcome, row.attempts, queue.retry)
    const outcomes = [settledOf(this.#judged(verdict))]
    const facts = { ...this.lease.held, consumer: queue.name, outcomes, inbox: false }
    const settled = await run(context.database, settleLeased(context.tables, facts))
    if (settled.length === 0) throw this.lease.lost ?? new LeaseLost(queue.name, this.lease.id)
    this.#tell(verdict)
    if (verdict.kind === 'retry' && verdict.delayMs < NOTICED_MS) this.#place.wakeRelay()
  }

  async #extend(leaseMs: number): Promise<void> {
    if (!Number.isFinite(leaseMs) || leaseMs < 1)
      throw new InvalidOption('leaseMs', 'it is not a number of milliseconds from 1')
    if (!(await this.renewed(Math.min(Math.round(leaseMs), TEN_YEARS_MS)))) throw this.lease.lost!
  }

  #tell(verdict: Judged['verdict']): void {
    tell(this.#place.context.events, this.#facts.queue.name, this.#judged(verdict))
  }

  #judged(verdict: Judged['verdict']): Judged {
    const { row } = this.#facts
    return { row, attempt: row.attempts, verdict, durationMs: performance.now() - this.#startedAt }
  }
}
