import type { Claimed } from '../postgres/claim.ts'

const FORGETS = 0.1

/**
 * How many deliveries a consumer may hold in hand, by the bytes of their bodies: as many as are likely to fit, judged by those that
 * came last, and one always. What is larger than it looked is cut by the claim itself.
 */
export class Prefetch {
  readonly #most: () => number
  #average = 0
  #inHand = 0

  constructor(most: () => number) {
    this.#most = most
  }

  /** How many of `wanted` to ask for. */
  fit(wanted: number): number {
    if (this.#average * wanted + this.#inHand <= this.#most()) return wanted
    return Math.max(1, Math.min(wanted, Math.floor((this.#most() - this.#inHand) / this.#average)))
  }

  /** They are in hand; the answer lets them go. */
  took(rows: readonly Claimed[]): () => void {
    if (rows.length === 0) return () => {}
    const bytes = rows.reduce((sum, row) => sum + bytesOf(row), 0)
    const average = bytes / rows.length
    this.#average = Math.max(average, this.#average + (average - this.#average) * FORGETS)
    this.#inHand += bytes
    return () => {
      this.#inHand -= bytes
    }
  }
}

function bytesOf({ body }: Claimed): number {
  return (body?.payload?.length ?? 0) + (body?.bytes?.length ?? 0)
}
