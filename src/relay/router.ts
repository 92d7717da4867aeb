import type { EventBus } from '../events.ts'
import { Thrift } from '../machinery/thrift.ts'
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

// What is due was seen coming, or became due just now. What was committed late is found by looking back further, now and then.
const BACK_MS = 1_000
const FAR_BACK_MS = 60_000

/**
 * Looks for committed messages and due deliveries and moves them on: one look is one statement, one transaction, one chunk.
 *
 * Below what is due, and before the first lease that lapses, lies what was promoted and settled: under a snapshot that is held
 * open it cannot be removed, and whoever looks for what was committed late walks over it. So that is done thriftily.
 */
export class Router {
  readonly #context: RouterContext
  readonly #chunk: number
  readonly #sweeps = new Thrift({ everyMs: 1_000, mostMs: 60_000 })
  readonly #looksBack = new Thrift({ everyMs: 2_000, mostMs: 10_000 })
  readonly #lapses = new Thrift({ everyMs: 0, mostMs: 2_000 })
  #lapseAt = Number.POSITIVE_INFINITY
  #routed = 0

  constructor(context: RouterContext, chunk: number) {
    this.#context = context
    this.#chunk = chunk
  }

  /** Messages routed so far. */
  get routed(): number {
    return this.#routed
  }

  /**
   * Sees everything that had committed before it began, unless another relay had the turn. A sweep finds what is due or has lapsed
   * however long ago; other looks leave that to the next one. @default a sweep where one is due
   */
  async look({ sweep = this.#sweeps.due }: { readonly sweep?: boolean } = {}): Promise<Cycle> {
    const { database, tables } = this.#context
    const chunk = this.#chunk
    const far = this.#looksBack.due
    const lapses = this.#lapses.due || this.#nextLeaseMs === 0
    const options = { chunk, sweep, backMs: far ? FAR_BACK_MS : BACK_MS, lapses }
    const cycle = (await run(database, relayCycle(tables, options)))[0]!
    this.#learn(cycle, { sweep, far })
    this.#routed += cycle.messages
    this.#tell(cycle)
    return { ...cycle, nextLeaseMs: this.#nextLeaseMs }
  }

  // Of a full look something may be left that is old by now: the next one looks as far. A sweep is a look back as well.
  #learn(cycle: Cycle, { sweep, far }: { readonly sweep: boolean; readonly far: boolean }): void {
    const { promotionMs, lapsesMs, nextLeaseMs } = cycle
    if (promotionMs !== null && cycle.promoted < this.#chunk) {
      if (sweep) this.#sweeps.took(promotionMs + (lapsesMs ?? 0))
      if (sweep || far) this.#looksBack.took(promotionMs)
    }
    if (lapsesMs === null) return
    if (!sweep) this.#lapses.took(lapsesMs)
    this.#lapseAt = nextLeaseMs === null ? Number.POSITIVE_INFINITY : performance.now() + nextLeaseMs
  }

  get #nextLeaseMs(): number | null {
    return this.#lapseAt === Number.POSITIVE_INFINITY ? null : Math.max(0, this.#lapseAt - performance.now())
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
