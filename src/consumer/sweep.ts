import { Loop, UNTIL_WOKEN } from '../machinery/loop.ts'

const OFTEN_MS = 1_000
const SELDOM_MS = 10_000

// Under a snapshot that is held open a sweep reads all that was ever claimed: then it may take a two-hundredth of the time.
const SHARE = 0.005
const REMEMBERED = 3

export interface SweepOptions {
  /** What is done each time; it may ask to be called sooner, in so many milliseconds. */
  readonly sweep: (found: { readonly empty: boolean }) => Promise<number | undefined>
  readonly onError: (error: unknown) => void
}

/**
 * Once a second while a consumer has something to do, and once after; an idle one costs nothing. Where sweeps take long they are
 * fewer, ten seconds apart at most. A queue that was said to have something and gave nothing is swept at once: what it has is for
 * the sweep to find.
 */
export class Sweep {
  readonly #options: SweepOptions
  readonly #loop: Loop
  #empty = false
  #lastAt = Number.NEGATIVE_INFINITY
  #dueAt = Number.POSITIVE_INFINITY
  #tookMs: readonly number[] = []

  constructor(options: SweepOptions) {
    this.#options = options
    this.#loop = new Loop(() => this.#step(), { onError: options.onError })
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
  }

  /** A claim has looked at the queue. */
  touch({ empty }: { readonly empty: boolean }): void {
    this.#empty ||= empty
    this.#dueBy((empty ? this.#lastAt : performance.now()) + this.#everyMs)
  }

  // By the shortest of the last few: one alone may have waited for something else.
  get #everyMs(): number {
    return Math.min(Math.max(OFTEN_MS, Math.min(...this.#tookMs, SELDOM_MS) / SHARE), SELDOM_MS)
  }

  #dueBy(at: number): void {
    if (at >= this.#dueAt) return
    this.#dueAt = at
    this.#loop.wake()
  }

  async #step(): Promise<number> {
    const restMs = this.#dueAt - performance.now()
    if (restMs > 0) return restMs === Number.POSITIVE_INFINITY ? UNTIL_WOKEN : restMs
    const found = { empty: this.#empty }
    this.#empty = false
    this.#dueAt = Number.POSITIVE_INFINITY
    this.#lastAt = performance.now()
    const sooner = await this.#options.sweep(found)
    this.#tookMs = [performance.now() - this.#lastAt, ...this.#tookMs].slice(0, REMEMBERED)
    if (sooner !== undefined) this.#dueBy(performance.now() + sooner)
    if (sooner !== undefined) this.#empty ||= found.empty
    return this.#dueAt - performance.now()
  }
}
