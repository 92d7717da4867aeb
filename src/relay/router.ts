import type { EventBus } from '../events.ts'
import { queueChannel } from '../postgres/channels.ts'
import type { Listener } from '../postgres/listener.ts'
import { type Queryable, run } from '../postgres/queryable.ts'
import { type Cycle, relayCycle } from '../postgres/relay.ts'
import type { Tables } from '../postgres/tables.ts'

export interface RouterContext {
  readonly database: Queryable
  readonly tables: Tables
  readonly events: EventBus
  readonly listener: Listener
}

const SWEEP_EVERY_MS = 1_000

/** Looks for committed messages and due deliveries and moves them on: one look is one statement, one transaction, one chunk. */
export class Router {
  readonly #context: RouterContext
  readonly #chunk: number
  #routed = 0
  #sweptAt = Number.NEGATIVE_INFINITY

  constructor(context: RouterContext, chunk: number) {
    this.#context = context
    this.#chunk = chunk
  }

  /** Messages routed so far. */
  get routed(): number {
    return this.#routed
  }

  /** Sees everything that had committed before it began, unless another relay had the turn. */
  async look(): Promise<Cycle> {
    const startedAt = performance.now()
    const sweep = startedAt - this.#sweptAt >= SWEEP_EVERY_MS
    const { database, tables } = this.#context
    const cycle = (await run(database, relayCycle(tables, { chunk: this.#chunk, sweep })))[0]!
    if (sweep && cycle.turn) this.#sweptAt = startedAt
    this.#routed += cycle.messages
    this.#tell(cycle)
    return cycle
  }

  // The cycle has notified other processes; this one need not wait for the echo.
  #tell({ messages, deliveries, promoted, queues, rebased }: Cycle): void {
    const { events, listener, tables } = this.#context
    for (const queue of queues) listener.tell(queueChannel(tables, queue))
    if (messages > 0) events.emit('routed', { messages, deliveries, queues: queues.length })
    if (promoted > 0) events.emit('promoted', { deliveries: promoted })
    if (rebased) {
      const message = 'The log comes from another cluster or an older backup: what was not routed there is routed now'
      events.emit('warning', { code: 'REBASED', message })
    }
  }
}
