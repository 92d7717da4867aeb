import { Loop, UNTIL_WOKEN } from '../machinery/loop.ts'
import { Thrift } from '../machinery/thrift.ts'

const OFTEN_MS = 1_000
const SELDOM_MS = 10_000

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
  readonly #thrift = new Thrift({ everyMs: OFTEN_MS, mostMs: SELDOM_MS })
  #empty = false
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
    this.#dueBy(empty ? this.#thrift.dueAt : performance.now() + this.#thrift.everyMs)
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
    const sooner = await this.#thrift.spend(() => this.#options.sweep(found))
    if (sooner !== undefined) this.#dueBy(performance.now() + sooner)
    if (sooner !== undefined) this.#empty ||= found.empty
    return this.#dueAt - performance.now()
  }
}
