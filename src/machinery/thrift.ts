/** The part of the time that it may take, unless somebody says otherwise. */
const SHARE = 0.005
const REMEMBERED = 3

export interface ThriftOptions {
  /** It is done as often where it costs next to nothing. */
  readonly everyMs: number
  /** It is done as often whatever it costs. */
  readonly mostMs: number
}

/**
 * When a look that may become long is to be had again: it takes a two-hundredth of the time at most. In a healthy database the
 * shortest interval holds; under a snapshot that is held open, where a look reads everything that has died, the looks are fewer.
 *
 * ```text
 * if (thrift.due) await thrift.spend(() => look())
 * ```
 */
export class Thrift {
  readonly #options: ThriftOptions
  readonly #now: () => number
  #tookMs: readonly number[] = []
  #lastAt = Number.NEGATIVE_INFINITY

  constructor(options: ThriftOptions, now: () => number = () => performance.now()) {
    this.#options = options
    this.#now = now
  }

  get due(): boolean {
    return this.isDue(SHARE)
  }

  /** The same for somebody to whom it is worth another part of the time. */
  isDue(share: number): boolean {
    return this.#now() >= this.#lastAt + this.#everyMs(share)
  }

  /** When the next is due, by the clock. */
  get dueAt(): number {
    return this.#lastAt + this.everyMs
  }

  /** How long after the last one the next is due. By the shortest of the last few: one alone may have waited for something else. */
  get everyMs(): number {
    return this.#everyMs(SHARE)
  }

  /** Has the look. One that fails may have been short for that alone: it takes nothing back of what the others took. */
  async spend<Result>(look: () => Promise<Result>): Promise<Result> {
    const startedAt = this.#now()
    try {
      const result = await look()
      this.took(this.#now() - startedAt)
      return result
    } catch (error) {
      const known = this.#tookMs.length === 0 ? 0 : Math.min(...this.#tookMs)
      this.took(Math.max(this.#now() - startedAt, known))
      throw error
    }
  }

  took(ms: number): void {
    this.#lastAt = this.#now()
    this.#tookMs = [ms, ...this.#tookMs].slice(0, REMEMBERED)
  }

  #everyMs(share: number): number {
    const { everyMs, mostMs } = this.#options
    return Math.min(Math.max(everyMs, Math.min(...this.#tookMs, mostMs) / share), mostMs)
  }
}
