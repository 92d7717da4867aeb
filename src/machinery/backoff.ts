export interface BackoffOptions {
  /** The longest first pause, in milliseconds. @default 50 */
  readonly minMs?: number
  /** No pause is longer, in milliseconds. @default 2_000 */
  readonly maxMs?: number
}

export const DEFAULT_BACKOFF = Object.freeze({ minMs: 50, maxMs: 2_000 })

/** Pauses that double up to a limit; each is a random half to whole of its size, so that a hundred processes do not return together. */
export class Backoff {
  readonly #options: Required<BackoffOptions>
  readonly #random: () => number
  #failures = 0

  constructor(options: BackoffOptions = {}, random: () => number = Math.random) {
    this.#options = { ...DEFAULT_BACKOFF, ...options }
    this.#random = random
  }

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures
  }

  /** How long to pause after one more failure. */
  next(): number {
    const { minMs, maxMs } = this.#options
    const size = Math.min(maxMs, minMs * 2 ** this.#failures)
    this.#failures = Math.min(this.#failures + 1, 64)
    return Math.ceil(size * (0.5 + this.#random() / 2))
  }

  reset(): void {
    this.#failures = 0
  }
}
