import { setTimeout as sleep } from 'node:timers/promises'
import type { ConsumerOptions } from '../consumer.ts'
import type { Context } from '../context.ts'
import { Stopped } from '../errors.ts'
import { Backoff } from '../machinery/backoff.ts'
import { Throttle } from '../machinery/throttle.ts'
import { within } from '../machinery/within.ts'
import type { Outbox } from '../outbox.ts'
import { notifyRelay } from '../postgres/channels.ts'
import type { QueueLook } from '../postgres/flow.ts'
import { run } from '../postgres/queryable.ts'
import type { AnyContract } from '../rules/contract.ts'
import { summarise } from '../rules/error-summary.ts'
import { SKY } from '../rules/position.ts'
import type { QueueSettings } from '../rules/topology.ts'
import { BatchSize } from './batch-size.ts'
import type { ClaimLoop } from './claim-loop.ts'
import { BENEFIT_OF_DOUBT_MS, Crashes } from './crashes.ts'
import { Depth } from './depth.ts'
import { Floors } from './floors.ts'
import type { Handlers } from './handlers.ts'
import type { Mode } from './mode.ts'
import { modeOf } from './modes.ts'
import { OwnRows } from './own-rows.ts'
import { report, type Seat, seatOf } from './seat.ts'
import { Slots, type Taken } from './slots.ts'
import { Sweep } from './sweep.ts'

/** What a consumer needs of the Posthaste it belongs to. */
export interface ConsumerPlace<Tx> {
  readonly context: Context<Tx>
  readonly claims: ClaimLoop
  readonly outbox: Pick<Outbox, 'publishIn' | 'writtenReply'>
  readonly queue: QueueSettings
  /** The queue's number in the database; rejects when it is not declared. */
  number(): Promise<number>
  /** Throws for a contract that no binding can bring to the queue. */
  admit?(contract: AnyContract): void
  /** Wakes the relay. @default a notification to the one on duty, wherever it is */
  wakeRelay?(): void
}

const ABORT_GRACE_MS = 1_000
const LAST_WORDS_MS = 10_000

/** A delay the relay would notice by itself. */
const NOTICED_MS = 1_000

const EVERY_FEW_SWEEPS = 5

// What claims under way ask for together; and so many claims are no matter. Where a batch is small more of them are.
const ASKED_AT_ONCE = 2_000
const CLAIMS_AT_ONCE = 10

const NOTHING: Taken = Object.freeze({ asked: 1, claimed: 0 })

/** A consumer between its start and its stop. */
export class Running<Tx> {
  readonly #place: ConsumerPlace<Tx>
  readonly #options: Required<ConsumerOptions>
  readonly #seat: Seat<Tx>
  readonly #stopping = new AbortController()
  readonly #floors = new Floors()
  readonly #depth: Depth<Tx>
  readonly #own: OwnRows<Tx>
  readonly #crashes: Crashes<Tx>
  readonly #mode: Mode
  readonly #slots: Slots
  readonly #sweep: Sweep
  readonly #backoff = new Backoff()
  readonly #throttle = new Throttle()
  #leave: (() => void) | undefined
  #pause: NodeJS.Timeout | undefined
  #blocked: NodeJS.Timeout | undefined
  #nudge: Promise<unknown> | undefined
  #knocked = true
  #aloneDue = false
  #alone = false
  #sweeps = 0

  constructor(
    place: ConsumerPlace<Tx>,
    options: Required<ConsumerOptions>,
    handlers: Handlers,
    { number, look }: { readonly number: number; readonly look: QueueLook | undefined },
  ) {
    this.#place = place
    this.#options = options
    const { context } = place
    this.#seat = seatOf(place, options, {
      handlers,
      number,
      stopping: this.#stopping.signal,
      scheduled: (delayMs) => this.#scheduled(delayMs),
      opened: () => this.#knock(),
      look: () => place.claims.look(),
    })
    this.#depth = new Depth(this.#seat)
    this.#own = new OwnRows(this.#seat)
    this.#crashes = new Crashes(this.#seat, this.#own)
    const changed = (from: number, to: number) =>
      context.events.emit('batch-size-changed', { queue: place.queue.name, from, to })
    const size = new BatchSize(options.batchSize, { changed })
    this.#mode = modeOf(this.#seat, options, { floors: this.#floors, own: this.#own, size })
    this.#slots = new Slots({
      concurrency: options.concurrency,
      mostClaims: () => Math.max(CLAIMS_AT_ONCE, Math.ceil(ASKED_AT_ONCE / size.next)),
      take: (claimed) => this.#take(claimed),
      mayRest: () => context.listener.healthy,
      onError: (error) => this.#failed(error),
    })
    this.#sweep = new Sweep({ sweep: (found) => this.#sweepOnce(found), onError: (error) => this.#report(error) })
    this.#see(look)
  }

  start(): void {
    const { context, claims, queue } = this.#place
    const { guarantee, concurrency } = this.#options
    this.#sweep.start()
    this.#leave = claims.enlist(this.#seat.number, {
      wake: () => this.#knock(),
      see: (look, askedAt) => this.#see(look, askedAt),
    })
    this.#wake()
    context.events.emit('consumer-started', { queue: queue.name, guarantee, concurrency })
  }

  async stop(timeoutMs: number): Promise<void> {
    this.#stopping.abort()
    this.#leave?.()
    clearTimeout(this.#pause)
    this.#unblock()
    this.#slots.close()
    this.#seat.gate.stop()
    const swept = this.#sweep.stop()
    const unfinished = (await within(timeoutMs, this.#slots.idle())) ? 0 : await this.#cut()
    await within(LAST_WORDS_MS, Promise.all([swept, this.#mode.close()]))
    this.#place.context.events.emit('consumer-stopped', { queue: this.#place.queue.name, unfinished })
  }

  async #cut(): Promise<number> {
    const unfinished = this.#seat.attempts.size
    const stopped = new Stopped(`consumer of ${this.#place.queue.name}`)
    for (const attempt of this.#seat.attempts) attempt.cut(stopped, ABORT_GRACE_MS)
    await within(ABORT_GRACE_MS + LAST_WORDS_MS, this.#slots.idle())
    return unfinished
  }

  #see(look: QueueLook | undefined, askedAt?: number): void {
    this.#seat.flow.see(look)
    this.#seat.gate.see(look, askedAt)
  }

  /** Somebody says that the queue may have something. */
  #knock(): void {
    this.#knocked = true
    this.#wake()
  }

  // What others say is there and a claim does not find is for the sweep; what nobody spoke of is nothing.
  #looked({ claimed }: Taken): void {
    if (claimed > 0) this.#sweep.touch({ empty: false })
    else if (this.#knocked) this.#sweep.touch({ empty: true })
    if (claimed === 0) this.#knocked = false
  }

  #wake(): void {
    if (this.#pause === undefined && this.#blocked === undefined && (this.#seat.gate.open || this.#seat.gate.halfOpen))
      this.#slots.wake()
  }

  async #take(claimed: (taken: Taken) => void): Promise<Taken> {
    if (this.#seat.gate.halfOpen) await this.#seat.breaker.probe(() => this.#mode.takeOne())
    if (!this.#seat.gate.open) return NOTHING
    if (this.#blocked !== undefined) return NOTHING
    if (this.#aloneDue && !this.#alone) return await this.#takeAlone(claimed)
    const taken = await this.#mode.take((told) => {
      if (told.waitMs === undefined) this.#looked(told)
      claimed(told)
    })
    if (taken.waitMs !== undefined) this.#block(taken.waitMs)
    else if (taken.claimed > 0) this.#unblock()
    this.#backoff.reset()
    return taken
  }

  // Others have all there is to have. Who gives back a place of this queue here goes on at once.
  #block(waitMs: number): void {
    this.#blocked ??= setTimeout(() => {
      this.#blocked = undefined
      this.#wake()
    }, waitMs)
  }

  #unblock(): void {
    clearTimeout(this.#blocked)
    this.#blocked = undefined
  }

  // As many as there are, one after the other, in one slot: none has company, and the other slots go on. While others have all the
  // places of the queue they stay due.
  async #takeAlone(claimed: (taken: Taken) => void): Promise<Taken> {
    this.#aloneDue = false
    this.#alone = true
    const taken = { asked: 1, claimed: 1 }
    claimed(taken)
    try {
      while (!this.#stopping.signal.aborted && this.#seat.gate.open) {
        const alone = await this.#mode.takeAlone()
        if (alone.claimed > 0) continue
        if (alone.waitMs === undefined) break
        this.#aloneDue = true
        this.#block(alone.waitMs)
        return NOTHING
      }
    } finally {
      this.#alone = false
    }
    return taken
  }

  async #sweepOnce({ empty }: { readonly empty: boolean }): Promise<number | undefined> {
    this.#sweeps += 1
    await this.#own.retry()
    const lowest = await this.#depth.look({ urgent: empty })
    this.#floors.rise(this.#depth.ground)
    this.#floors.fall(lowest)
    const charged = await this.#crashes.look(lowest, empty ? SKY : this.#floors.positions)
    if (charged > 0 || empty || this.#sweeps % EVERY_FEW_SWEEPS === 0) {
      this.#aloneDue = true
      this.#wake()
    }
    return this.#crashes.pending > 0 ? BENEFIT_OF_DOUBT_MS : undefined
  }

  #scheduled(delayMs: number): void {
    if (delayMs >= NOTICED_MS) return
    if (this.#place.wakeRelay) this.#place.wakeRelay()
    else this.#nudge ??= this.#wakeRelay()
  }

  async #wakeRelay(): Promise<void> {
    await sleep(0)
    this.#nudge = undefined
    const { database, tables } = this.#place.context
    await run(database, notifyRelay(tables)).catch((error) => this.#report(error))
  }

  // The database is out of order: what fails is not made to fail faster.
  #failed(error: unknown): void {
    this.#report(error)
    if (this.#pause !== undefined || this.#stopping.signal.aborted) return
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#wake()
    }, this.#backoff.next())
  }

  #report(error: unknown): void {
    if (this.#throttle.allows(summarise(error).message)) report(this.#seat, error)
  }
}
