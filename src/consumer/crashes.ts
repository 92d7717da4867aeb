import { chargeCrashes, type Suspect, suspects, suspectsInLines } from '../postgres/claim.ts'
import { run } from '../postgres/queryable.ts'
import { isAbove, type Positions } from '../rules/position.ts'
import type { OwnRows } from './own-rows.ts'
import type { Seat } from './seat.ts'

/** A suspect is given so long to be taken again by a process that lives. */
export const BENEFIT_OF_DOUBT_MS = 250

const AT_ONCE = 1_000

/**
 * Finds deliveries that a process died with: their rows came back from a claim that did not commit, and nobody takes them again.
 *
 *     ready ──a claim is rolled back──▶ suspect ──seen again after 250 ms──▶ charged with a crash ──▶ attempted alone
 *       ▲                                  │                                      └─ one crash too many ──▶ dead letter "crashed"
 *       └──── its process lives ───────────┘
 *
 * Nothing is written about the healthy: what tells a suspect is the mark a rolled back transaction leaves on a row.
 */
export class Crashes<Tx> {
  readonly #seat: Seat<Tx>
  readonly #own: OwnRows<Tx>
  #seen = new Map<string, number>()

  constructor(seat: Seat<Tx>, own: OwnRows<Tx>) {
    this.#seat = seat
    this.#own = own
  }

  /** Suspects that are to be looked at once more. */
  get pending(): number {
    return this.#seen.size
  }

  /** Looks between the given positions, and charges what it has seen before. Returns how many deliveries were charged. */
  async look(from: Positions, below: Positions): Promise<number> {
    const now = performance.now()
    const found = await this.#find(from, below)
    const strangers = found.filter(({ position }) => !this.#own.has(position))
    const due = strangers.filter(({ position }) => now - (this.#seen.get(position) ?? now) >= BENEFIT_OF_DOUBT_MS)
    this.#seen = new Map(strangers.map(({ position }) => [position, this.#seen.get(position) ?? now]))
    return due.length === 0 ? 0 : await this.#charge(due)
  }

  async #find(from: Positions, below: Positions): Promise<Suspect[]> {
    const { context, number, flow } = this.#seat
    const { database, tables } = context
    const facts = { queue: number, limit: AT_ONCE }
    if (flow.byKey) return await run(database, suspectsInLines(tables, facts))
    if (!below.some((position, priority) => isAbove(position, from[priority]!))) return []
    return await run(database, suspects(tables, { ...facts, from, below }))
  }

  async #charge(rows: readonly Suspect[]): Promise<number> {
    const { context, queue, number } = this.#seat
    const facts = { queue: number, rows, maxCrashes: queue.maxCrashes }
    const charged = await run(context.database, chargeCrashes(context.tables, facts))
    for (const { position, messageId, crashes, dead } of charged) {
      this.#seen.delete(position)
      context.events.emit('crash-counted', { queue: queue.name, messageId, crashes })
      if (dead) this.#tellDead(messageId)
    }
    return charged.length
  }

  // Its row had no more than the message's id, and no attempt of it ever ended.
  #tellDead(messageId: string): void {
    const { context, queue } = this.#seat
    const attempted = { queue: queue.name, messageId, type: '', attempt: 0 }
    context.events.emit('dead-lettered', { ...attempted, reason: 'crashed', error: undefined })
  }
}
