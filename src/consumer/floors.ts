import type { Claimed } from '../postgres/claim.ts'

/** The lowest floor there is: positions begin at 1. */
const GROUND = '0'

/** Where one claim begins to look. */
export interface Look {
  readonly positions: readonly string[]
  readonly fromTheGround: boolean
  /** Rows may have come back as often before it was sent. */
  readonly falls: number
}

/**
 * Where a claim may begin to look, one position per priority: what lies below has been claimed, and its dead rows need not
 * be read again. A floor is a memory, never the truth: rows come back. So after a failure, every second or so, and before the
 * consumer says that a queue is empty, one claim looks from the ground, and the others go on from what is remembered.
 */
export class Floors {
  #positions = ground()
  #falls = 0
  #groundDue = false

  get positions(): readonly string[] {
    return this.#positions
  }

  /** Where the next claim is to look. */
  next(): Look {
    const fromTheGround = this.#groundDue
    this.#groundDue = false
    return { positions: fromTheGround ? ground() : this.#positions, fromTheGround, falls: this.#falls }
  }

  /**
   * A claim takes the lowest rows of a priority that nobody else holds, so past the last of them begins what it has not seen.
   * `full`: it got as many as it asked for. One that was sent before the last fall knows nothing of what came back.
   */
  saw({ fromTheGround, falls }: Look, claimed: readonly Pick<Claimed, 'priority' | 'position'>[], full: boolean): void {
    if (falls !== this.#falls) return
    const last = new Map<number, string>()
    for (const { priority, position } of claimed) {
      const before = last.get(priority)
      if (before === undefined || isAbove(position, before)) last.set(priority, position)
    }
    if (fromTheGround && full) this.#comeDown(Math.max(...last.keys()))
    for (const [priority, position] of last) this.#raise(priority, BigInt(position) + 1n)
  }

  /** Rows may have come back. */
  fall(): void {
    this.#falls += 1
    this.#groundDue = true
  }

  // Of the least urgent priority that the claim came to, it may have left what had come back: everybody goes on from there.
  #comeDown(priority: number): void {
    this.#falls += 1
    this.#positions = this.#positions.with(priority, GROUND)
  }

  // Two claims of one consumer overlap: the later answer may be the lower one.
  #raise(priority: number, position: bigint): void {
    if (position > BigInt(this.#positions[priority] ?? GROUND)) {
      this.#positions = this.#positions.with(priority, String(position))
    }
  }
}

function ground(): string[] {
  return Array<string>(10).fill(GROUND)
}

// Both are written without a sign and without leading zeros.
function isAbove(position: string, other: string): boolean {
  return position.length === other.length ? position > other : position.length > other.length
}
