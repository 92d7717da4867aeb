import type { EventBus } from '../events.ts'
import { Throttle } from '../machinery/throttle.ts'
import { summarise } from '../rules/error-summary.ts'

/** Tells when a connection of ours is lost and when it is back: one event for each, however many tries lie between. */
export class Outage {
  readonly #events: EventBus
  readonly #purpose: string
  readonly #throttle = new Throttle()
  #told = false
  #since: number | undefined

  constructor(events: EventBus, purpose: string) {
    this.#events = events
    this.#purpose = purpose
  }

  begins(error: unknown): void {
    if (this.#since !== undefined) return
    this.#since = performance.now()
    this.#told = this.#throttle.allows(this.#purpose)
    if (this.#told) this.#events.emit('connection-lost', { purpose: this.#purpose, error: summarise(error) })
  }

  ends(): void {
    if (this.#since === undefined) return
    const lostForMs = Math.round(performance.now() - this.#since)
    this.#since = undefined
    if (this.#told) this.#events.emit('connection-restored', { purpose: this.#purpose, lostForMs })
  }
}
