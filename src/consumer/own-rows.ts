import { setTimeout as sleep } from 'node:timers/promises'
import type { Place } from '../postgres/claim.ts'
import { run } from '../postgres/queryable.ts'
import { restore } from '../postgres/restore.ts'
import { report, type Seat } from './seat.ts'

const PATIENCE_MS = [0, 5, 20, 50, 100, 250, 500] as const

/**
 * Rows of claims that were rolled back while this process lives: they are put in their places again, uncharged, and nobody
 * takes them for the leavings of a crash meanwhile.
 *
 * A transaction whose connection was lost may still hold its rows: they are asked for again, in each sweep, until the server
 * has ended it. A row that is no longer there was committed.
 */
export class OwnRows<Tx> {
  readonly #seat: Seat<Tx>
  readonly #waiting = new Map<string, Place>()

  constructor(seat: Seat<Tx>) {
    this.#seat = seat
  }

  has(position: string): boolean {
    return this.#waiting.has(position)
  }

  /** While they are someone's business here, no crash is theirs. */
  hold(rows: readonly Place[]): void {
    for (const { priority, position } of rows) this.#waiting.set(position, { priority, position })
  }

  release({ position }: Place): void {
    this.#waiting.delete(position)
  }

  /** Puts rows back; resolves when they are, or when that has to wait for the server or the next sweep. */
  async giveBack(rows: readonly Place[]): Promise<void> {
    this.hold(rows)
    for (const ms of PATIENCE_MS) {
      if (ms > 0) await sleep(ms)
      await this.retry()
      if (!rows.some(({ position }) => this.has(position))) return
    }
  }

  /** Asks once more for all that is still waiting. */
  async retry(): Promise<void> {
    if (this.#waiting.size === 0) return
    const asked = [...this.#waiting.values()]
    const { context, number } = this.#seat
    try {
      const found = await run(context.database, restore(context.tables, { queue: number, rows: asked }))
      const held = new Set(found.filter(({ restored }) => !restored).map(({ position }) => position))
      for (const row of asked) if (!held.has(row.position)) this.release(row)
    } catch (error) {
      report(this.#seat, error)
    }
  }
}
