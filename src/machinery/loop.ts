import { Backoff, type BackoffOptions } from './backoff.ts'

/** What a step returns when only `wake()` is to call it again. */
export const UNTIL_WOKEN = Number.POSITIVE_INFINITY

// A timer of more than 2^31 - 1 ms fires at once: Node keeps the delay in 32 bits.
const LONGEST_TIMER_MS = 2 ** 31 - 1

export interface LoopOptions {
  /** Called with what a step threw, before the pause that follows. What it throws itself is dropped. */
  readonly onError?: (error: unknown) => void
  /** The pauses after a step that threw. */
  readonly backoff?: BackoffOptions
}

interface Run {
  readonly stopping: AbortController
  readonly done: Promise<void>
}

/**
 * Calls a step again and again, never two at a time, until it is stopped; no error ends it.
 *
 * A step returns how many milliseconds it may rest. `wake()` cuts the rest short; during a step it makes the step run once
 * more, so that whatever was true at a `wake()` is seen by a step that begins after it. The pause after an error is not cut
 * short: what fails is not made to fail faster.
 *
 * ```text
 * const loop = new Loop(async () => ((await work()) > 0 ? 0 : 1_000), { onError: report })
 * loop.start()
 * loop.wake()
 * await loop.stop()
 * ```
 */
export class Loop {
  readonly #step: (signal: AbortSignal) => Promise<number>
  readonly #onError: (error: unknown) => void
  readonly #backoff: Backoff
  #run: Run | undefined
  #woken = false
  #cut: (() => void) | undefined
  #pausing: (() => void) | undefined

  constructor(step: (signal: AbortSignal) => Promise<number>, options: LoopOptions = {}) {
    this.#step = step
    this.#onError = options.onError ?? (() => {})
    this.#backoff = new Backoff(options.backoff)
  }

  /** True from `start()` until `stop()` is called. */
  get running(): boolean {
    return this.#run !== undefined && !this.#run.stopping.signal.aborted
  }

  /** Begins; when a stop is under way, after it. Twice is once. */
  start(): void {
    if (this.running) return
    const stopping = new AbortController()
    this.#run = { stopping, done: this.#go(stopping.signal, this.#run?.done) }
  }

  wake(): void {
    this.#woken = true
    this.#cut?.()
  }

  /** Resolves when the step under way, whose signal is aborted, has ended. A step must not wait for it. */
  async stop(): Promise<void> {
    this.#run?.stopping.abort()
    this.#cut?.()
    this.#pausing?.()
    await this.#run?.done
  }

  async #go(signal: AbortSignal, previous: Promise<void> | undefined): Promise<void> {
    await previous
    while (!signal.aborted) await this.#once(signal)
  }

  async #once(signal: AbortSignal): Promise<void> {
    this.#woken = false
    try {
      const restMs = await this.#step(signal)
      this.#backoff.reset()
      await this.#rest(restMs, signal)
    } catch (error) {
      await this.#pause(error, signal)
    }
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    if (this.#woken || !(ms > 0)) return await new Promise((resolve) => setImmediate(resolve))
    await sleep(ms, (cut) => (this.#cut = cut))
    this.#cut = undefined
  }

  async #pause(error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const ms = this.#backoff.next()
    this.#report(error)
    await sleep(ms, (cut) => (this.#pausing = cut))
    this.#pausing = undefined
  }

  #report(error: unknown): void {
    try {
      this.#onError(error)
    } catch {}
  }
}

function sleep(ms: number, cuttable: (cut: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER_MS))
    cuttable(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
