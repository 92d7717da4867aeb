export interface Startable<StopOptions> {
  /** Opens what is needed. The signal says that a stop was asked for meanwhile. */
  start(signal: AbortSignal): Promise<void> | void
  /** Closes whatever `start` has opened, also when it had not come to its end. */
  stop(options?: StopOptions): Promise<void>
}

interface Run {
  readonly stopping: AbortController
  readonly started: Promise<void>
}

/**
 * Start and stop in any order and at any moment: twice is once, a start after a stop begins anew, a stop during a start
 * interrupts it, a start that failed is cleaned up and may be tried again.
 */
export class Lifecycle<StopOptions = never> {
  readonly #of: Startable<StopOptions>
  #run: Run | undefined
  #stopped: Promise<void> = Promise.resolve()

  constructor(of: Startable<StopOptions>) {
    this.#of = of
  }

  /** True from `start()` until `stop()` is called. */
  get running(): boolean {
    return this.#run !== undefined
  }

  start(): Promise<void> {
    this.#run ??= this.#begin()
    return this.#run.started
  }

  stop(options?: StopOptions): Promise<void> {
    const run = this.#run
    if (!run) return this.#stopped
    this.#run = undefined
    run.stopping.abort()
    this.#stopped = this.#end(run, options)
    return this.#stopped
  }

  #begin(): Run {
    const stopping = new AbortController()
    const started = this.#open(this.#stopped, stopping.signal)
    started.catch(() => this.#forget(stopping))
    return { stopping, started }
  }

  async #open(stopped: Promise<void>, signal: AbortSignal): Promise<void> {
    await stopped.catch(() => {})
    if (signal.aborted) return
    try {
      await this.#of.start(signal)
    } catch (error) {
      await this.#of.stop().catch(() => {})
      throw error
    }
  }

  #forget(stopping: AbortController): void {
    if (this.#run?.stopping === stopping) this.#run = undefined
  }

  async #end(run: Run, options: StopOptions | undefined): Promise<void> {
    const opened = await run.started.then(
      () => true,
      () => false,
    )
    if (opened) await this.#of.stop(options)
  }
}
