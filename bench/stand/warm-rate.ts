const WARM_UP = 0.1

/** So many a second, of a known number, from the first tenth on: what comes before is a process that warms up. */
export class WarmRate {
  readonly #all: number
  #count = 0
  #from = { at: performance.now(), count: 0 }

  constructor(all: number) {
    this.#all = all
  }

  /** True with the last. */
  add(some = 1): boolean {
    const before = this.#count
    this.#count += some
    const warm = this.#all * WARM_UP
    if (before < warm && this.#count >= warm) this.#from = { at: performance.now(), count: this.#count }
    return this.#count === this.#all
  }

  get count(): number {
    return this.#count
  }

  /** To be asked for when the last is there. */
  perSecond(): number {
    return ((this.#count - this.#from.count) * 1_000) / (performance.now() - this.#from.at)
  }
}
