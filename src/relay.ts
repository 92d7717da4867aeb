import type { Context } from './context.ts'
import { Lifecycle } from './machinery/lifecycle.ts'
import { Loop } from './machinery/loop.ts'
import { Throttle } from './machinery/throttle.ts'
import { notifyRelay, relayChannel } from './postgres/channels.ts'
import { run } from './postgres/queryable.ts'
import type { Cycle } from './postgres/relay.ts'
import { Duty } from './relay/duty.ts'
import { Recovery } from './relay/recovery.ts'
import { Router } from './relay/router.ts'
import { Timetable } from './relay/timetable.ts'
import { DEFAULT_RETENTION, RETENTION, type Retention, Upkeep } from './relay/upkeep.ts'
import { summarise } from './rules/error-summary.ts'
import { milliseconds, parseOptions, shape, wholeNumber } from './rules/options.ts'

/** How a relay works. The defaults fit; a longer poll costs less when notifications arrive, and delays what nobody told it of. */
export interface RelayOptions {
  /** How long a message may wait that nobody told the relay of, in milliseconds. @default 1_000 */
  readonly pollIntervalMs?: number
  /** How many messages one transaction routes at most. @default 5_000 */
  readonly chunk?: number
  /** How long the relay rests, when there is nothing more to do, before it looks again and then goes to sleep. @default 3 */
  readonly drowsyMs?: number
  /** How long a round of upkeep takes while nothing happens, in milliseconds: partitions, retention, counts. A sixth when something does. @default 60_000 */
  readonly upkeepRoundMs?: number
  /** How long things are kept. */
  readonly retention?: Retention
}

export const DEFAULT_RELAY = Object.freeze({ pollIntervalMs: 1_000, chunk: 5_000, drowsyMs: 3, upkeepRoundMs: 60_000 })

export const RELAY_OPTIONS = shape((z) =>
  z.strictObject({
    pollIntervalMs: milliseconds(1).optional(),
    chunk: wholeNumber(1, 100_000).optional(),
    drowsyMs: milliseconds().optional(),
    upkeepRoundMs: milliseconds(100).optional(),
    retention: RETENTION().optional(),
  }),
)

export interface StopOptions {
  /** How long to wait for the cycle in progress, in milliseconds. @default 10_000 */
  readonly timeoutMs?: number
}

const STOP_TIMEOUT_MS = 10_000
const FIRST_LOOK_MS = 5
const MOST_DROWSY_LOOKS = 128
const FOREIGN_TURN_MS = 2
const POLL_AFTER_WORK_MS = 10

// A look costs as much as a hundred messages do: one that found fewer is followed by a breath, in which more come together. It is
// as long as four looks, so that a relay that shares its cores with publishers leaves them to these.
const FEW = 100
const LOOKS_PER_BREATH = 4
const BREATH_MS = { least: 2, most: 10 }

/**
 * Moves committed messages: routes them to queues, makes delayed ones ready when they are due, takes back lapsed leases, keeps
 * partitions and retention. Any number may run, in any process: one is on duty, the others stand by. One that dies is
 * replaced at once, one that is stopped (SIGSTOP) is helped out for at the next poll.
 *
 * ```
 *   POLLING ◀─────── notifications stop ─────────┐           a look is one call of relay_cycle; every state is left
 *      │  notifications arrive                   │           and entered by looks, and every rest ends in one
 *      ▼                                         │
 *   STANDBY ──duty granted──▶ BUSY ◀─────────────┤  looks without a rest while it finds something
 *      ▲                      │  ▲ found         │
 *      │              nothing ▼  │               │
 *      │                    DROWSY               │  rests a few milliseconds, looks again
 *      │              nothing │  ▲               │
 *      │     request the lock ▼  │ knocked twice: cancel the request
 *      │                    ASKING               │  looks 5, 10, 20, 40 … ms after the request, then once per poll
 *      │              granted │  ▲               │
 *      │                      ▼  │ knocked twice: give the lock back (to BUSY)
 *      └── connection lost ─ ASLEEP ─────────────┘  looks when granted, knocked at, something is due, and once per poll
 * ```
 *
 * POLLING has no locks and no duty: every relay looks, soon after it found something, ever later up to the poll interval
 * when not. STANDBY waits for the duty lock and looks once per poll. A knock is a notification by a publisher; the first
 * one is answered by a look that keeps the lock, a second one during that look says that it is worth having publishers
 * silent again.
 *
 * Why nothing waits for the poll. Let P be a publisher, and t the moment its insert tries the sleep lock, shared, which it
 * then holds to the end of its transaction.
 * 1. t is after the request began to wait, or after it was granted, and before the lock was given back: the try fails (a
 *    waiting exclusive request makes it fail), P notifies with its commit. A notification is delivered when P is visible, it
 *    wakes the loop, and a wake-up is followed by a look that begins after it (see Loop). That look sees P.
 * 2. t is before, and P ends before the grant: the grant, which wakes the loop, is not possible sooner, as P holds the lock.
 *    The server releases P's locks after P became visible, so the look that begins after the grant sees P. If the grant is
 *    long in coming, because another publisher stays open, a look finds P no later than twice as long after the request as
 *    P took: looks come at doubling times, so P waits no longer than its own transaction lasted, or one poll.
 * 3. t is while nobody asks (BUSY, DROWSY): P is silent, and those states end only with a request: P is as in 2, if no look
 *    has found it before.
 * 4. The request is cancelled or the lock given back: the state is BUSY, looks follow, and 3 holds.
 * 5. The session that holds or asks for the lock is lost: the relay looks at once and goes on as in STANDBY or POLLING,
 *    while whoever gets the duty begins with a look, then 3.
 * A look that another relay's turn made empty is no look: it is repeated.
 */
export class Relay {
  readonly #context: Context
  readonly #options: Required<Omit<RelayOptions, 'retention'>>
  readonly #router: Router
  readonly #recovery: Recovery
  readonly #duty: Duty
  readonly #upkeep: Upkeep
  readonly #timetable: Timetable
  readonly #loop: Loop
  readonly #lifecycle: Lifecycle<StopOptions>
  readonly #throttle = new Throttle()
  #unsubscribe: (() => void)[] = []
  #knocks = 0
  #emptyLooks = 0
  #askedAt = 0
  #lookedMs = 0
  #pollMs = POLL_AFTER_WORK_MS
  #nudging: Promise<unknown> | undefined

  constructor(context: Context, given: RelayOptions = {}) {
    const { retention, ...options } = parseOptions(RELAY_OPTIONS, given) as RelayOptions
    this.#context = context
    this.#options = { ...DEFAULT_RELAY, ...options }
    this.#router = new Router(context, this.#options.chunk)
    this.#recovery = new Recovery(context)
    this.#loop = new Loop(() => this.#look(), { onError: (error) => this.#report('relay', error) })
    this.#duty = new Duty(context, () => this.#changed())
    this.#upkeep = new Upkeep({
      ...context,
      retention: { ...DEFAULT_RETENTION, ...retention },
      roundMs: this.#options.upkeepRoundMs,
      routed: () => this.#router.routed,
      onDuty: () => this.#duty.state === 'held' || !context.listener.healthy,
      onError: (error) => this.#report('upkeep', error),
    })
    this.#timetable = new Timetable({
      ...context,
      onDuty: () => this.#duty.state === 'held' || !context.listener.healthy,
      onError: (error) => this.#report('timetable', error),
    })
    this.#lifecycle = new Lifecycle({ start: () => this.#start(), stop: (given) => this.#stop(given) })
  }

  /** True while this relay holds the duty. */
  get onDuty(): boolean {
    return this.#duty.state === 'held'
  }

  /** Begins; does not wait for a connection: a database that is down is waited for. Twice is once. */
  start(): Promise<void> {
    return this.#lifecycle.start()
  }

  /** Lets the cycle in progress end, then gives the duty to another relay. Twice is once. */
  stop(options?: StopOptions): Promise<void> {
    return this.#lifecycle.stop(options)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** Makes whichever relay is on duty look soon: for what was put into `scheduled` outside of its cycle. */
  wake(): void {
    if (this.#duty.state === 'held' || !this.#context.listener.healthy) this.#loop.wake()
    else this.nudge()
  }

  /** Tells the relay on duty, in whatever process, to look soon. */
  nudge(): void {
    const { database, tables } = this.#context
    this.#nudging ??= run(database, notifyRelay(tables))
      .catch((error) => this.#report('relay', error))
      .finally(() => (this.#nudging = undefined))
  }

  #start(): void {
    const { listener, tables } = this.#context
    this.#unsubscribe = [
      listener.subscribe(relayChannel(tables), () => this.#knocked()),
      listener.onChange(() => this.#changed()),
    ]
    this.#duty.start()
    this.#loop.start()
    this.#upkeep.start()
    this.#timetable.start()
  }

  async #stop({ timeoutMs = STOP_TIMEOUT_MS }: StopOptions = {}): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    const loops = [this.#loop.stop(), this.#upkeep.stop(), this.#timetable.stop()]
    const stopped = Promise.all([...loops, this.#duty.stop(), this.#nudging])
    const { promise: deadline, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, timeoutMs)
    await Promise.race([stopped, deadline]).finally(() => clearTimeout(timer))
  }

  async #look(): Promise<number> {
    const knocks = this.#knocks
    const startedAt = performance.now()
    const cycle = await this.#router.look()
    this.#lookedMs = performance.now() - startedAt
    if (cycle.turn && this.#recovery.dueInMs(cycle.nextLeaseMs) <= 0) this.#recovered(await this.#recovery.recover())
    return this.#restAfter(cycle, this.#knocks > knocks)
  }

  // What came back is scheduled, and due.
  #recovered(deliveries: number): void {
    if (deliveries > 0) this.#loop.wake()
  }

  #restAfter(cycle: Cycle, knocked: boolean): number {
    if (cycle.more) return this.#busy()
    if (!this.#context.listener.healthy || this.#duty.state === 'away') return this.#polling(cycle)
    if (this.#duty.state === 'waiting') return this.#options.pollIntervalMs
    if (!cycle.turn) return FOREIGN_TURN_MS
    if (knocked) return this.#busy()
    return this.#goingToSleep(cycle)
  }

  #busy(): number {
    this.#emptyLooks = 0
    this.#duty.sleep.rise()
    return 0
  }

  #polling(cycle: Cycle): number {
    const { pollIntervalMs } = this.#options
    this.#pollMs = found(cycle) ? POLL_AFTER_WORK_MS : Math.min(pollIntervalMs, this.#pollMs * 2)
    return Math.min(this.#pollMs, this.#dueInMs(cycle))
  }

  #goingToSleep(cycle: Cycle): number {
    const { sleep } = this.#duty
    const { drowsyMs, pollIntervalMs } = this.#options
    if (sleep.state === 'asleep') return Math.min(pollIntervalMs, this.#dueInMs(cycle))
    if (sleep.state === 'asking') return Math.min(pollIntervalMs, this.#dueInMs(cycle), this.#sinceAsked())
    if (found(cycle)) return this.#busy() + (little(cycle) ? this.#breathMs : 0)
    if (sleep.state === 'rising' || ++this.#emptyLooks <= this.#drowsyLooks()) return drowsyMs
    this.#askedAt = performance.now()
    this.#duty.ask()
    return FIRST_LOOK_MS
  }

  get #breathMs(): number {
    return Math.min(Math.max(BREATH_MS.least, LOOKS_PER_BREATH * this.#lookedMs), BREATH_MS.most)
  }

  // Each request that had to be cancelled makes the next one come later: a cancel costs a line in the server's log.
  #drowsyLooks(): number {
    return Math.min(MOST_DROWSY_LOOKS, 2 ** this.#duty.sleep.cancels)
  }

  #sinceAsked(): number {
    return Math.max(FIRST_LOOK_MS, performance.now() - this.#askedAt)
  }

  // Something due that another transaction holds stays due: it is not asked for a thousand times a second.
  #dueInMs({ promoted, nextDueMs, nextLeaseMs }: Cycle): number {
    const dueMs = nextDueMs === null ? Number.POSITIVE_INFINITY : Math.max(nextDueMs, promoted > 0 ? 1 : 10)
    return Math.max(1, Math.ceil(Math.min(dueMs, this.#recovery.dueInMs(nextLeaseMs))))
  }

  #knocked(): void {
    this.#knocks += 1
    if (this.#duty.state === 'held') this.#loop.wake()
  }

  #changed(): void {
    if (this.#duty.state !== 'held') this.#emptyLooks = 0
    this.#loop.wake()
  }

  #report(where: string, error: unknown): void {
    const summary = summarise(error)
    if (this.#throttle.allows(`${where} ${summary.code ?? summary.message}`))
      this.#context.events.emit('error', { where, error: summary })
  }
}

function found({ messages, promoted }: Cycle): boolean {
  return messages + promoted > 0
}

function little({ messages, promoted }: Cycle): boolean {
  return messages + promoted < FEW
}
