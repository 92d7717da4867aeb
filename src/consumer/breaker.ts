import type { Context } from '../context.ts'
import { beginProbe, endProbe } from '../postgres/breaker.ts'
import { run } from '../postgres/queryable.ts'
import type { Flow } from './flow.ts'
import type { Gate } from './gate.ts'
import { hasFailed, hasSucceeded, RETURNED, type Verdict } from './verdict.ts'

export interface BreakerOptions {
  readonly context: Pick<Context, 'database' | 'tables' | 'events'>
  readonly queue: { readonly name: string }
  readonly number: number
  readonly flow: Flow
  readonly gate: Gate
  /** How long an attempt may take. */
  readonly timeoutMs: number
}

// Beyond the time of its handler; then somebody else may try.
const PROBE_GRACE_MS = 5_000

// What nobody need attempt says nothing about what is broken.
const MOST_TRIES = 20

/**
 * What a consumer does about the circuit breaker of its queue. The database counts the failures of all processes and opens it; here
 * what is claimed already is spared as soon as this process alone has seen enough, and a half-open breaker is tried with one
 * delivery, which is not charged when it fails.
 */
export class Breaker {
  readonly #options: BreakerOptions
  #failures = 0
  #held = false
  #underWay = false
  #probing = false
  #passed: boolean | null = null

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  /** What a failure comes to: of a try, nothing. */
  spared(verdict: Verdict): Verdict {
    if (!this.#probing || !hasFailed(verdict)) return verdict
    this.#passed = false
    return RETURNED
  }

  /** An attempt came to this. */
  saw(verdict: Verdict): void {
    if (hasSucceeded(verdict)) this.#succeeded()
    else if (hasFailed(verdict)) this.#failed()
  }

  /** What was seen is written down: the database says whether it is open. */
  settled(): void {
    if (!this.#held) return
    this.#held = false
    this.#failures = 0
    this.#options.gate.release()
  }

  /** Tries one delivery, unless another process does; `take` claims one, works it off and says how many it found. */
  async probe(take: () => Promise<number>): Promise<void> {
    if (this.#underWay) return
    this.#underWay = true
    await this.#probe(take).finally(() => {
      this.#underWay = false
    })
  }

  async #probe(take: () => Promise<number>): Promise<void> {
    const { context, queue, number, gate, timeoutMs } = this.#options
    const { database, tables, events } = context
    const facts = { queue: number, probeMs: timeoutMs + PROBE_GRACE_MS }
    const [{ begun } = { begun: false }] = await run(database, beginProbe(tables, facts))
    if (!begun) return gate.release()
    this.#passed = null
    try {
      await this.#try(take)
    } finally {
      const passed = this.#passed
      await run(database, endProbe(tables, { queue: number, passed }))
      if (passed !== null) events.emit('breaker-probed', { queue: queue.name, passed })
      if (passed !== null || !gate.halfOpen) gate.release()
    }
  }

  async #try(take: () => Promise<number>): Promise<void> {
    const { gate } = this.#options
    this.#probing = true
    gate.probe(true)
    try {
      for (let tries = 0; tries < MOST_TRIES && this.#passed === null; tries += 1) if ((await take()) === 0) return
    } finally {
      gate.probe(false)
      this.#probing = false
    }
  }

  #succeeded(): void {
    this.#failures = 0
    if (this.#probing && this.#passed === null) this.#passed = true
  }

  #failed(): void {
    const { flow, gate } = this.#options
    this.#failures += 1
    const most = flow.settings.breaker?.failures
    if (most === undefined || this.#failures < most || this.#held) return
    this.#held = true
    gate.hold()
  }
}
