const DEFAULT_EVERY_MS = 1_000
const MOST_CAUSES = 100

/** Lets each cause through once a second: a database that is down is one line a second in the log, not ten thousand. */
export class Throttle {
  readonly #everyMs: number
  readonly #last = new Map<string, number>()

  constructor(everyMs: number = DEFAULT_EVERY_MS) {
    this.#everyMs = everyMs
  }

  allows(cause: string, now: number = performance.now()): boolean {
    if (now - (this.#last.get(cause) ?? Number.NEGATIVE_INFINITY) < this.#everyMs) return false
    if (this.#last.size >= MOST_CAUSES) this.#last.clear()
    this.#last.set(cause, now)
    return true
  }
}
