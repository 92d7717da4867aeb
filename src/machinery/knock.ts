/** A sign that something may be there. One that comes while nobody waits is kept. */
export class Knock {
  #kept = false
  #open: (() => void) | undefined

  knock(): void {
    this.#kept = true
    this.#open?.()
  }

  /** Resolves at a knock that nobody has heard yet, after so many milliseconds, or when the signal fires. */
  async heard(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, Math.max(0, ms))
    const aborted = () => resolve()
    signal?.addEventListener('abort', aborted)
    this.#open = resolve
    if (this.#kept || signal?.aborted) resolve()
    await promise
    clearTimeout(timer)
    signal?.removeEventListener('abort', aborted)
    this.#open = undefined
    this.#kept = false
  }
}
