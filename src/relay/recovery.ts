import type { EventBus } from '../events.ts'
import { type Queryable, run } from '../postgres/queryable.ts'
import { recoverLeases } from '../postgres/relay.ts'
import type { Tables } from '../postgres/tables.ts'

export interface RecoveryContext {
  readonly database: Queryable
  readonly tables: Tables
  readonly events: EventBus
}

const LEASES_AT_ONCE = 100

// A lapsed lease whose holder is just settling it is passed over, and stays lapsed meanwhile.
const AGAIN_MS = 1_000

/** Takes back what lapsed leases left unsettled. The relay's looks say when the next lease lapses, so nothing is asked before. */
export class Recovery {
  readonly #context: RecoveryContext
  #notBefore = Number.NEGATIVE_INFINITY

  constructor(context: RecoveryContext) {
    this.#context = context
  }

  /** How long it may wait, given when the next lease lapses. */
  dueInMs(nextLeaseMs: number | null): number {
    if (nextLeaseMs === null) return Number.POSITIVE_INFINITY
    return Math.max(nextLeaseMs, this.#notBefore - performance.now())
  }

  /** Answers how many deliveries it took back. */
  async recover(): Promise<number> {
    this.#notBefore = performance.now() + AGAIN_MS
    const { database, tables, events } = this.#context
    const [{ returned, dead } = { returned: 0, dead: 0 }] = await run(
      database,
      recoverLeases(tables, { limit: LEASES_AT_ONCE }),
    )
    if (returned + dead === 0) return 0
    this.#notBefore = Number.NEGATIVE_INFINITY
    events.emit('lease-lapsed', { returned, dead })
    return returned
  }
}
