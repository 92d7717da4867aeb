import { LeaseLost } from '../errors.ts'
import { extendLease, type Leased } from '../postgres/leases.ts'
import { run } from '../postgres/queryable.ts'
import type { Attempt } from './attempt.ts'
import { report, type Seat } from './seat.ts'

/**
 * The right to attempt a batch of deliveries until a time. The time here is the one before the lease was asked for or renewed,
 * by the clock of this process that never jumps: it ends no later than the database's.
 */
export class Lease {
  readonly id: string
  readonly token: string
  readonly #queue: string
  readonly #lost = Promise.withResolvers<never>()
  /** The attempt whose handler runs under it. */
  attempt: Attempt | undefined
  /** Its deliveries that nothing has been settled of. */
  unsettled: number
  #until: number
  #lostBy: LeaseLost | undefined

  constructor(queue: string, { lease, token }: Leased, facts: { until: number; deliveries: number }) {
    this.id = lease
    this.token = token
    this.#queue = queue
    this.#until = facts.until
    this.unsettled = facts.deliveries
    this.#lost.promise.catch(() => {})
  }

  get held(): { readonly lease: string; readonly token: string } {
    return { lease: this.id, token: this.token }
  }

  get lost(): LeaseLost | undefined {
    return this.#lostBy
  }

  get remainingMs(): number {
    return this.#until - performance.now()
  }

  renewed(until: number): void {
    this.#until = Math.max(this.#until, until)
  }

  /** Somebody else may attempt its deliveries: what still runs here counts for nothing. */
  lose(): LeaseLost {
    this.#lostBy ??= new LeaseLost(this.#queue, this.id)
    this.attempt?.cut(this.#lostBy, 0)
    return this.#lostBy
  }
}

/** The leases of a consumer, renewed together by one timer at a third of their time. */
export class Leases<Tx> {
  readonly #seat: Seat<Tx>
  readonly #leaseMs: number
  readonly #held = new Set<Lease>()
  #timer: NodeJS.Timeout | undefined

  constructor(seat: Seat<Tx>, leaseMs: number) {
    this.#seat = seat
    this.#leaseMs = leaseMs
  }

  get leaseMs(): number {
    return this.#leaseMs
  }

  hold(lease: Lease): void {
    this.#held.add(lease)
    this.#timer ??= setInterval(() => void this.#renewAll(), this.#leaseMs / 3)
  }

  letGo(lease: Lease): void {
    this.#held.delete(lease)
    if (this.#held.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Whether a handler may be begun: not when the lease could lapse before a renewal has had its chance. */
  async covers(lease: Lease): Promise<boolean> {
    if (lease.lost) return false
    if (lease.remainingMs < this.#leaseMs / 3) await this.renew(lease)
    return !lease.lost && lease.remainingMs >= this.#leaseMs / 3
  }

  /** Renews for `leaseMs` from now, or is told that it is lost; an error of the connection leaves it open. */
  async renew(lease: Lease, leaseMs: number = this.#leaseMs): Promise<void> {
    const { context } = this.#seat
    const askedAt = performance.now()
    const [extended] = await run(context.database, extendLease(context.tables, { ...lease.held, leaseMs }))
    if (extended) lease.renewed(askedAt + leaseMs)
    else this.lose(lease)
  }

  lose(lease: Lease): LeaseLost {
    const told = lease.lost !== undefined
    const lost = lease.lose()
    const { context, queue } = this.#seat
    if (!told) context.events.emit('lease-lost', { queue: queue.name, lease: lease.id, deliveries: lease.unsettled })
    return lost
  }

  async #renewAll(): Promise<void> {
    await Promise.all([...this.#held].map((lease) => this.#renewOrWait(lease)))
  }

  async #renewOrWait(lease: Lease): Promise<void> {
    try {
      if (!lease.lost && lease.unsettled > 0) await this.renew(lease)
    } catch (error) {
      report(this.#seat, error)
      if (lease.remainingMs <= 0) this.lose(lease)
    }
  }
}
