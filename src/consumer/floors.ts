import type { Claimed } from '../postgres/claim.ts'

/** The lowest floor there is: positions begin at 1. */
const GROUND = '0'

/**
 * Where a claim may begin to look, one position per priority: what lies below has been claimed, and its dead rows need not
 * be read again. A floor is a memory, never the truth: rows come back, so the consumer falls to the ground each second,
 * after a failure, and before it says that a queue is empty.
 */
export class Floors {
  #positions = ground()
  #falls = 0

  /** How often it fell to the ground: a claim that was sent before the last time knows nothing of what came back. */
  get falls(): number {
    return this.#falls
  }

  get positions(): readonly string[] {
    return this.#positions
  }

  get onTheGround(): boolean {
    return this.#positions.every((position) => position === GROUND)
  }

  /** A claim takes the lowest rows of a priority that nobody else holds, so past the last of them begins what it has not seen. */
  advance(claimed: readonly Pick<Claimed, 'priority' | 'position'>[], falls: number = this.#falls): void {
    if (falls !== this.#falls) return
    const last = new Map<number, string>()
    for (const { priority, position } of claimed) {
      const before = last.get(priority)
      if (before === undefined || isAbove(position, before)) last.set(priority, position)
    }
    for (const [priority, position] of last) this.#raise(priority, BigInt(position) + 1n)
  }

  fall(): void {
    this.#falls += 1
    if (!this.onTheGround) this.#positions = ground()
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
