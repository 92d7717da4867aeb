import { setTimeout as sleep } from 'node:timers/promises'
import type { Claimed } from '../postgres/claim.ts'
import { releaseLeased, settleLeased } from '../postgres/leases.ts'
import { run } from '../postgres/queryable.ts'
import type { Lease, Leases } from './leases.ts'
import { report, type Seat } from './seat.ts'
import { type Judged, settledOf, tell } from './verdict.ts'

/** Outcomes that come faster are written together. */
const EVERY_MS = 25

const RETRY_MS = 25

/**
 * Writes down what came of a lease's deliveries, beside the handlers: an outcome waits for the next round trip, never longer.
 * What the database does not confirm is not told: the lease was lost, and the deliveries are attempted again.
 */
export class Settling<Tx> {
  readonly #seat: Seat<Tx>
  readonly #leases: Leases<Tx>
  readonly #lease: Lease
  #waiting: Judged[] = []
  #unbegun: { readonly row: Claimed; readonly delayMs: number }[] = []
  #underWay: Promise<void> | undefined
  #lastAt = performance.now()

  constructor(seat: Seat<Tx>, leases: Leases<Tx>, lease: Lease) {
    this.#seat = seat
    this.#leases = leases
    this.#lease = lease
  }

  add(judged: Judged): void {
    this.#waiting.push(judged)
    if (performance.now() - this.#lastAt >= EVERY_MS) this.#begin()
  }

  /** It was settled by the transaction of its effect. */
  committed(judged: Judged): void {
    this.#lease.unsettled -= 1
    tell(this.#seat.context.events, this.#seat.queue.name, judged)
  }

  /** It was not attempted, or through no fault of its own: nothing is charged. */
  giveBack(row: Claimed, delayMs = 0): void {
    this.#unbegun.push({ row, delayMs })
  }

  async finish(): Promise<void> {
    await this.#underWay
    this.#begin()
    await this.#underWay
    await this.#release()
  }

  #begin(): void {
    if (this.#underWay || this.#waiting.length === 0) return
    const judged = this.#waiting
    this.#waiting = []
    this.#lastAt = performance.now()
    this.#underWay = this.#settle(judged).finally(() => {
      this.#underWay = undefined
    })
  }

  // A connection that fails is no reason to attempt anything again, as long as the lease is ours.
  async #settle(judged: readonly Judged[]): Promise<void> {
    for (let tries = 1; !(await this.#settledOnce(judged, tries)); tries += 1) {
      if (this.#lease.lost || this.#lease.remainingMs <= 0) return
      await sleep(Math.min(RETRY_MS * 2 ** tries, this.#lease.remainingMs))
    }
  }

  async #settledOnce(judged: readonly Judged[], tries: number): Promise<boolean> {
    const { context, queue } = this.#seat
    const facts = { ...this.#lease.held, consumer: queue.name, outcomes: judged.map(settledOf), inbox: false }
    try {
      const settled = await run(context.database, settleLeased(context.tables, facts))
      const positions = new Set(settled.map(({ position }) => position))
      for (const each of judged) if (positions.has(each.row.position)) this.#tell(each)
      this.#lease.unsettled -= positions.size
      // Of a second try the first may have been committed.
      if (positions.size === 0 && tries === 1) this.#leases.lose(this.#lease)
      return true
    } catch (error) {
      report(this.#seat, error)
      return false
    }
  }

  #tell(judged: Judged): void {
    const { verdict } = judged
    if (verdict.kind === 'retry') this.#seat.scheduled(verdict.delayMs)
    tell(this.#seat.context.events, this.#seat.queue.name, judged)
  }

  async #release(): Promise<void> {
    if (this.#unbegun.length === 0 || this.#lease.lost) return
    const { database, tables } = this.#seat.context
    try {
      for (const [delayMs, unbegun] of Map.groupBy(this.#unbegun, (each) => each.delayMs)) {
        const positions = unbegun.map(({ row }) => row.position)
        await run(database, releaseLeased(tables, { ...this.#lease.held, positions, delayMs }))
        this.#seat.scheduled(delayMs)
      }
    } catch (error) {
      report(this.#seat, error)
    }
  }
}
