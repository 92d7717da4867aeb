import { Loop, UNTIL_WOKEN } from '../machinery/loop.ts'

const EVERY_MS = 1_000

export interface SweepOptions {
  /** What is done each second; it may ask to be called sooner, in so many milliseconds. */
  readonly sweep: (found: { readonly empty: boolean }) => Promise<number | undefined>
  readonly onError: (error: unknown) => void
}

/**
 * Once a second while a consumer has something to do, and once after; an idle one costs nothing. A queue that was said to have
 * something and gave nothing is swept at once: what it has is for the sweep to find.
 */
export class Sweep {
  readonly #options: SweepOptions
  readonly #loop: Loop
  #empty = false
  #lastAt = Number.NEGATIVE_INFINITY
  #dueAt = Number.POSITIVE_INFINITY

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
    this.#dueBy((empty ? this.#lastAt : performance.now()) + EVERY_MS)
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
    if (sooner !== undefined) this.#dueBy(performance.now() + sooner)
    if (sooner !== undefined) this.#empty ||= found.empty
    return this.#dueAt - performance.now()
  }
}
