import { AsyncLocalStorage } from 'node:async_hooks'
import { EffectUnsettled } from '../errors.ts'
import { isOutcome } from '../rules/outcome.ts'
import type { Horizon } from '../rules/provider.ts'

const running = new AsyncLocalStorage<Attempt>()

/** An attempt that did not end by itself: its handler may go on, and nothing it still does may count. */
export class AttemptCut extends Error {
  readonly reason: Error

  constructor(reason: Error) {
    super(reason.message)
    this.reason = reason
  }
}

/**
 * One run of a handler: it has a deadline and a signal, and can be cut short.
 *
 * The signal fires first; a handler that has not ended within the grace is left behind, and `run` rejects with `AttemptCut`.
 */
export class Attempt {
  /** The message that is attempted; undefined for several. */
  messageId: string | undefined
  /** How long the queue may repeat the delivery, where that matters to operations on the outside. */
  horizon: Horizon | undefined
  #owed: Map<string, string> | undefined
  readonly #timedOut: () => Error
  #timeMs: number
  #controller: AbortController | undefined
  #cutBy: Error | undefined
  #leave: ((cut: AttemptCut) => void) | undefined
  #deadline: NodeJS.Timeout | undefined

  constructor(timeoutMs: number, timedOut: () => Error) {
    this.#timeMs = timeoutMs
    this.#timedOut = timedOut
  }

  /** The attempt whose handler called what runs now. */
  static get current(): Attempt | undefined {
    return running.getStore()
  }

  /** Why it was cut short, also when its handler ended within the grace. */
  get cutBy(): Error | undefined {
    return this.#cutBy
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#cutBy) this.#controller.abort(this.#cutBy)
    return this.#controller.signal
  }

  /** Synchronous if the handler is. */
  run<Result>(handler: () => Result | Promise<Result>): Result | Promise<Result> {
    const returned = running.run(this, handler)
    return isThenable(returned) ? this.#inTime(returned) : this.#paid(returned)
  }

  #paid<Result>(result: Result): Result {
    if (this.#owed && !isOutcome(result)) this.refuseOwed()
    return result
  }

  /** An operation on the outside was run, and the delivery may not be completed before it is settled. */
  owe(operation: string, reason: string): void {
    this.#owed ??= new Map()
    this.#owed.set(operation, reason)
  }

  settled(operation: string): void {
    this.#owed?.delete(operation)
  }

  /** Throws when the delivery may not be completed yet. */
  refuseOwed(): void {
    for (const [operation, reason] of this.#owed ?? []) throw new EffectUnsettled(operation, reason)
  }

  /** The handler has so many milliseconds from now, whatever it had. */
  extend(ms: number): void {
    this.#timeMs = ms
    if (this.#leave) this.#arm()
  }

  /** Fires the signal now, and gives the handler so long to end. */
  cut(reason: Error, graceMs: number): void {
    if (this.#cutBy) return
    this.#cutBy = reason
    this.#controller?.abort(reason)
    if (graceMs === 0) this.#leave?.(new AttemptCut(reason))
    else setTimeout(() => this.#leave?.(new AttemptCut(reason)), graceMs)
  }

  async #inTime<Result>(result: Promise<Result>): Promise<Result> {
    const cut = Promise.withResolvers<never>()
    this.#leave = cut.reject
    this.#arm()
    try {
      return this.#paid(await Promise.race([result, cut.promise]))
    } finally {
      clearTimeout(this.#deadline)
      this.#leave = undefined
    }
  }

  #arm(): void {
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => this.cut(this.#timedOut(), 0), this.#timeMs)
  }
}

export function isThenable<Result>(value: Result | Promise<Result>): value is Promise<Result> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}
