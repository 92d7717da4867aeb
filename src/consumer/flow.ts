import type { QueueLook } from '../postgres/flow.ts'
import { DEFAULT_BATCH_BYTES, type FlowSettings } from '../rules/flow.ts'

/** The rules by which the deliveries of a queue flow, as the database tells them: at the start, and whenever they change. */
export class Flow {
  #text = '{}'
  #settings: FlowSettings = {}

  see(look: QueueLook | undefined): void {
    if (look === undefined || look.flow === this.#text) return
    this.#text = look.flow
    this.#settings = JSON.parse(look.flow)
  }

  get settings(): FlowSettings {
    return this.#settings
  }

  get maxBatchBytes(): number {
    return this.#settings.maxBatchBytes ?? DEFAULT_BATCH_BYTES
  }

  /** Whether it is claimed by the plain statement: no limit holds over all processes, and no key waits for its turn. */
  get plain(): boolean {
    const { maxConcurrency, maxConcurrencyPerKey } = this.#settings
    return !this.byKey && maxConcurrency === undefined && maxConcurrencyPerKey === undefined
  }

  /** Whether it is claimed key by key, so that a claim that comes up short may have passed something over. */
  get byKey(): boolean {
    return this.#settings.fair !== undefined || this.#settings.maxConcurrencyPerKey !== undefined
  }

  /** Whether a place is wanted for everything that is in hand. */
  get placed(): boolean {
    return this.#settings.maxConcurrency !== undefined || this.#settings.maxConcurrencyPerKey !== undefined
  }

  get rated(): boolean {
    return this.#settings.rateLimit !== undefined
  }

  /** Whether what has expired is kept as a dead letter. */
  get keepsExpired(): boolean {
    return this.#settings.expired === 'dead-letter'
  }
}
