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

  /** Whether what has expired is kept as a dead letter. */
  get keepsExpired(): boolean {
    return this.#settings.expired === 'dead-letter'
  }
}
