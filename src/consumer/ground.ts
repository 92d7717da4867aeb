import { BOTTOM, isAbove, type Positions } from '../rules/position.ts'

/** What a look at a queue found: the lowest row of each priority that is there for anybody. */
export interface Found {
  readonly lowest: Positions
  /** The last position that was given to a row, in any queue. */
  readonly top: string
}

/** A row may be committed so long after its position was given, and is above the ground. */
const LATE_MS = 15_000

interface Top {
  readonly at: number
  readonly top: string
}

/**
 * What lies below it is gone for good: while a snapshot is held open its dead rows stay, and a look that begins at the ground
 * need not read them again.
 *
 * A row that a claim holds, or left when it was rolled back, was there for every look in between: the ground stays at the lowest
 * row that is there, whoever has it. What is gone was deleted by a transaction that committed. Nothing new comes below what
 * was given out before, but for a transaction that stays open: so the ground stays below what was given out a quarter of a minute ago.
 * What came later than that is found by a look from the bottom, which takes the ground down again.
 */
export class Ground {
  #positions = BOTTOM
  #tops: readonly Top[] = []

  get positions(): Positions {
    return this.#positions
  }

  /** A look that began at the ground, or at the bottom, has found this. `askedAt` is when it began, now that it has ended. */
  saw({ lowest, top }: Found, { askedAt, now }: { readonly askedAt: number; readonly now: number }): void {
    if (this.#isBehind(top)) this.#tops = []
    const past = this.#tops.findLastIndex(({ at }) => at <= askedAt - LATE_MS)
    const settled = this.#tops[past]?.top ?? '0'
    this.#positions = lowest.map((position) => (isAbove(position, settled) ? settled : position))
    this.#tops = [...this.#tops.slice(Math.max(past, 0)), { at: now, top }]
  }

  // The database is a restored one, or took over without all that the other had written.
  #isBehind(top: string): boolean {
    const last = this.#tops.at(-1)
    return last !== undefined && isAbove(last.top, top)
  }
}
