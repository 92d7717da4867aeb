import { setTimeout as sleep } from 'node:timers/promises'
import type { ConsumerOptions } from '../consumer.ts'
import { Stopped } from '../errors.ts'
import { within } from '../machinery/within.ts'
import { lookAtQueues } from '../postgres/flow.ts'
import { run } from '../postgres/queryable.ts'
import { BOTTOM, SKY } from '../rules/position.ts'
import { BatchSize } from './batch-size.ts'
import { BENEFIT_OF_DOUBT_MS, Crashes } from './crashes.ts'
import { Floors } from './floors.ts'
import type { Handlers } from './handlers.ts'
import type { Mode } from './mode.ts'
import { modeOf } from './modes.ts'
import { OwnRows } from './own-rows.ts'
import type { ConsumerPlace } from './running.ts'
import { type Seat, seatOf } from './seat.ts'

export interface DrainRequest {
  /** Deliveries to claim at most. */
  readonly maxMessages: number
  readonly deadlineMs: number
  /** Routes what was published and promotes what is due; whether there was something. */
  readonly move: () => Promise<boolean>
}

/** What a drain came to. */
export interface Drained {
  /** Deliveries that were claimed, whatever became of them. */
  readonly claimed: number
  /** Why it ended: nothing was left, or there may be more. */
  readonly ended: 'empty' | 'max-messages' | 'deadline' | 'paused'
}

const ABORT_GRACE_MS = 1_000
const LAST_WORDS_MS = 10_000
const BLOCKED_MS = 50

/**
 * A consumer that works off what is there and ends: no loop, no subscription, no timer outlives it. What it claims it works off
 * exactly as one that runs does. At the deadline nothing new is begun, signals fire, and a second later what still runs is
 * rolled back.
 */
export class Draining<Tx> {
  readonly #place: ConsumerPlace<Tx>
  readonly #concurrency: number
  readonly #seat: Seat<Tx>
  readonly #stopping = new AbortController()
  readonly #own: OwnRows<Tx>
  readonly #crashes: Crashes<Tx>
  readonly #size: BatchSize
  readonly #mode: Mode
  #left = 0
  #claimed = 0
  #blocked = false

  constructor(place: ConsumerPlace<Tx>, options: Required<ConsumerOptions>, handlers: Handlers, number: number) {
    this.#place = place
    this.#concurrency = options.concurrency
    const stopping = this.#stopping.signal
    this.#seat = seatOf(place, options, {
      handlers,
      number,
      stopping,
      scheduled: () => {},
      opened: () => {},
      look: () => {},
    })
    this.#own = new OwnRows(this.#seat)
    this.#crashes = new Crashes(this.#seat, this.#own)
    this.#size = new BatchSize(options.batchSize)
    this.#mode = modeOf(this.#seat, options, { floors: new Floors(), own: this.#own, size: this.#size })
  }

  async drain({ maxMessages, deadlineMs, move }: DrainRequest): Promise<Drained> {
    this.#left = maxMessages
    const working = this.#work(move)
    try {
      if (!(await within(deadlineMs, working))) await this.#cut(working)
      if (!this.#over) await working
    } finally {
      this.#seat.gate.stop()
      await within(LAST_WORDS_MS, this.#mode.close())
    }
    return { claimed: this.#claimed, ended: this.#ended() }
  }

  async #work(move: () => Promise<boolean>): Promise<void> {
    await move()
    await this.#lookAtGate()
    if (this.#seat.gate.halfOpen) await this.#probe()
    await this.#crashes.look(BOTTOM, SKY)
    while (this.#mayGoOn) {
      const found = (await this.#takeAlone()) + (await this.#takeAll())
      if (found === 0 && !(await move()) && !(await this.#lookAgain()) && !(await this.#waitForOthers())) return
    }
  }

  async #lookAtGate(): Promise<void> {
    const { context, number, gate } = this.#seat
    const [look] = await run(context.database, lookAtQueues(context.tables, { queues: [number] }))
    this.#seat.flow.see(look)
    gate.see(look)
  }

  async #probe(): Promise<void> {
    await this.#seat.breaker.probe(() => this.#mode.takeOne())
    await this.#lookAtGate()
  }

  // What a process died with is seen twice before it is charged; a drain has no other time for it than this.
  async #lookAgain(): Promise<boolean> {
    if (this.#crashes.pending === 0) return false
    await sleep(BENEFIT_OF_DOUBT_MS)
    return (await this.#crashes.look(BOTTOM, SKY)) > 0
  }

  // A limit holds over all processes, and there is more than it lets through now.
  async #waitForOthers(): Promise<boolean> {
    if (!this.#blocked) return false
    this.#blocked = false
    await sleep(BLOCKED_MS)
    return true
  }

  async #takeAlone(): Promise<number> {
    let taken = 0
    while (this.#mayGoOn) {
      const { claimed, waitMs } = await this.#mode.takeAlone()
      if (waitMs !== undefined) this.#blocked = true
      if (claimed === 0) break
      taken += 1
      this.#left -= 1
      this.#claimed += 1
    }
    return taken
  }

  async #takeAll(): Promise<number> {
    const slots = Array.from({ length: Math.min(this.#concurrency, this.#left) }, () => this.#slot())
    const ended = await Promise.allSettled(slots)
    const failed = ended.find((slot) => slot.status === 'rejected')
    if (failed) throw failed.reason
    return ended.reduce((sum, slot) => sum + (slot.status === 'fulfilled' ? slot.value : 0), 0)
  }

  // What is asked for is taken off what is left before it is there: slots beside each other never claim too many.
  async #slot(): Promise<number> {
    let taken = 0
    while (this.#mayGoOn) {
      this.#size.most = this.#left
      const asked = this.#size.next
      this.#left -= asked
      const { claimed, waitMs } = await this.#mode.take(() => {})
      if (waitMs !== undefined) this.#blocked = true
      this.#left += asked - claimed
      this.#claimed += claimed
      taken += claimed
      if (claimed === 0) break
    }
    return taken
  }

  get #mayGoOn(): boolean {
    return !this.#over && this.#left > 0 && this.#seat.gate.open
  }

  get #over(): boolean {
    return this.#stopping.signal.aborted
  }

  async #cut(working: Promise<unknown>): Promise<void> {
    this.#stopping.abort()
    const stopped = new Stopped(`drain of ${this.#place.queue.name}`)
    for (const attempt of this.#seat.attempts) attempt.cut(stopped, ABORT_GRACE_MS)
    await within(ABORT_GRACE_MS + LAST_WORDS_MS, working)
  }

  #ended(): Drained['ended'] {
    if (this.#over) return 'deadline'
    if (!this.#seat.gate.open) return 'paused'
    return this.#left <= 0 ? 'max-messages' : 'empty'
  }
}
