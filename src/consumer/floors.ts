import type { Claimed, Place } from '../postgres/claim.ts'
import { BOTTOM, higher, isAbove, lower, type Positions, SKY } from '../rules/position.ts'

/** Where one claim begins to look. */
export interface Look {
  readonly positions: Positions
  /** It begins below a floor, where rows may have come back. */
  readonly below: boolean
  /** Rows may have come back as often before it was sent. */
  readonly falls: number
}

/**
 * Where a claim may begin to look, one position per priority: what lies below has been claimed, and its dead rows need not
 * be read again. A floor is a memory, never the truth: rows come back. So after a failure, and where a sweep has seen something
 * below a floor, one claim begins there, and the others go on from what is remembered.
 */
export class Floors {
  #positions = BOTTOM
  #falls = 0
  #fallen = SKY

  get positions(): Positions {
    return this.#positions
  }

  /** Where the next claim is to look. */
  next(): Look {
    if (this.#fallen === SKY) return { positions: this.#positions, below: false, falls: this.#falls }
    const positions = lower(this.#positions, this.#fallen)
    const below = positions.some((position, priority) => position !== this.#positions[priority])
    this.#fallen = SKY
    return { positions, below, falls: this.#falls }
  }

  /**
   * A claim takes the lowest rows of a priority that nobody else holds, so past the last of them begins what it has not seen.
   * `full`: it got as many as it asked for. One that was sent before the last fall knows nothing of what came back.
   */
  saw({ below, falls }: Look, claimed: readonly Pick<Claimed, 'priority' | 'position'>[], full: boolean): void {
    if (falls !== this.#falls) return
    const last = new Map<number, string>()
    for (const { priority, position } of claimed) {
      const before = last.get(priority)
      if (before === undefined || isAbove(position, before)) last.set(priority, position)
    }
    if (below && full) this.#comeDown(Math.max(...last.keys()))
    for (const [priority, position] of last) this.#raise(priority, String(BigInt(position) + 1n))
  }

  /** Rows may have come back, from these positions on. */
  fall(lowest: Positions): void {
    this.#falls += 1
    this.#fallen = lower(this.#fallen, lowest)
  }

  /** These rows may have come back. */
  cameBack(rows: readonly Place[]): void {
    const lowest = [...SKY]
    for (const { priority, position } of rows) if (isAbove(lowest[priority]!, position)) lowest[priority] = position
    this.fall(lowest)
  }

  /** Somebody knows that nothing is left below. */
  rise(ground: Positions): void {
    this.#positions = higher(this.#positions, ground)
  }

  // Of the least urgent priority that the claim came to, it may have left what had come back: everybody goes on from there.
  #comeDown(priority: number): void {
    this.#falls += 1
    this.#positions = this.#positions.with(priority, BOTTOM[priority]!)
  }

  // Two claims of one consumer overlap: the later answer may be the lower one.
  #raise(priority: number, position: string): void {
    if (isAbove(position, this.#positions[priority]!)) this.#positions = this.#positions.with(priority, position)
  }
}
