import type { Handlers } from '../consumer/handlers.ts'
import type { ConsumerPlace } from '../consumer/running.ts'
import { report, seatOf } from '../consumer/seat.ts'
import type { ConsumerOptions } from '../consumer.ts'
import { NotSupported, Stopped } from '../errors.ts'
import { Backoff } from '../machinery/backoff.ts'
import { Throttle } from '../machinery/throttle.ts'
import { within } from '../machinery/within.ts'
import type { QueueLook } from '../postgres/flow.ts'
import { run } from '../postgres/queryable.ts'
import {
  dueKeys,
  type GroupLook,
  groupPositions,
  groupSince,
  type LanesAt,
  replayWindow,
  samePosition,
  WHOLE,
} from '../postgres/streams.ts'
import { hasCode, summarise } from '../rules/error-summary.ts'
import { ALL_LANES, dealtLanes, shareOf } from '../rules/lane.ts'
import { DEFAULT_STREAM } from '../rules/topology.ts'
import { StreamAtLeastOnce } from './at-least-once.ts'
import { Cohort, type Replaying, Strand } from './cohort.ts'
import { StreamExactlyOnce } from './exactly-once.ts'
import { type StreamMode, TICK_FORGOTTEN } from './mode.ts'
import { type Roll, rollOf } from './roll.ts'
import type { StreamSeat } from './seat.ts'
import { type LogWindow, windowOf } from './window.ts'

const ABORT_GRACE_MS = 1_000
const LAST_WORDS_MS = 10_000

/**
 * How many rows of the log one look takes at most. What is let go of soon costs the process no memory; what several groups share is
 * held for all of them anyway, and a larger look costs each of them less.
 */
const LOOK_ROWS = { alone: 500, shared: 2_000 }
/** So many looks are read ahead of a strand while others have nothing to do; then it gives its lanes up, to be read for on their own. */
const FAR_BEHIND = 4
/**
 * While messages keep coming, a look and what it brings are followed by a rest of some times as long, for all groups of the process that
 * read the stream, so that the next one brings more: looks, transactions and positions are few when they are dear, and what
 * comes after a silence waits for nothing.
 */
const REST = { minMs: 10, maxMs: 100, times: 5 }
/** Lanes that are behind others are waited for, unless a handler of theirs takes longer. */
const CATCH_UP_MS = 100
const IDLE_PASS_MS = 1_000
/** A position that the log is not read from any more: it names a tick that upkeep has forgotten. */
const LOG_TRIMMED = 'PH012'
const DEFAULT_BATCH = 100
const MOST_DUE = 100

/** A reader of a stream between its start and its stop: a share of the lanes of its group. */
export class StreamRunning<Tx> {
  readonly #place: ConsumerPlace<Tx>
  readonly #options: Required<ConsumerOptions>
  readonly #seat: StreamSeat<Tx>
  readonly #stopping = new AbortController()
  readonly #roll: Roll
  readonly #window: LogWindow
  readonly #mode: StreamMode
  readonly #batchSize: number
  readonly #cohorts = new Set<Cohort>()
  readonly #underWay = new Set<Promise<void>>()
  readonly #backoff = new Backoff()
  readonly #throttle = new Throttle()
  readonly #parkedUnderWay = new Set<string>()
  #wokenAt = 0
  /** How many messages share a transaction for now. */
  #most: number
  #wanted = 0n
  #adopting = false
  #paused = false
  #since: Date | null = null
  #pause: NodeJS.Timeout | undefined
  #linger: NodeJS.Timeout | undefined
  #passing: NodeJS.Timeout | undefined
  #leave: (() => void)[] = []
  #leaveRoll: (() => Promise<void>) | undefined

  constructor(
    place: ConsumerPlace<Tx>,
    options: Required<ConsumerOptions>,
    handlers: Handlers,
    { number, group, look }: { readonly number: number; readonly group: number; readonly look: QueueLook | undefined },
  ) {
    this.#place = place
    this.#options = options
    const { context, queue } = place
    const groupName = options.group ?? queue.name
    this.#seat = {
      ...seatOf(place, options, {
        handlers,
        number,
        stopping: this.#stopping.signal,
        scheduled: () => {},
        opened: () => this.#pump(),
        look: () => place.claims.look(),
      }),
      group,
      groupName,
      settings: queue.stream ?? DEFAULT_STREAM,
      guarded: options.replayGuard,
      consumer: `${queue.name}/${groupName}`,
    }
    this.#roll = rollOf(context as never)
    this.#window = windowOf(context as never)
    this.#mode = this.#modeOf()
    this.#batchSize = options.batchSize === 'auto' ? DEFAULT_BATCH : options.batchSize
    this.#most = this.#batchSize
    this.#seeQueue(look)
  }

  start(): void {
    const { context, claims, queue } = this.#place
    const { guarantee, concurrency } = this.#options
    this.#leave.push(
      claims.enlist(this.#seat.number, { wake: () => this.#wake(), see: (look) => this.#seeQueue(look) }),
    )
    this.#leave.push(this.#window.enlist(this.#seat.number))
    const roll = this
    this.#leaveRoll = this.#roll.enlist(this.#seat.group, {
      see: (look, member) => this.#see(look, member),
      lost: () => this.#lostAll(),
      get active() {
        return roll.#active
      },
    })
    this.#passing = setInterval(() => this.#keep(this.#passIdle()), IDLE_PASS_MS)
    context.events.emit('consumer-started', { queue: queue.name, group: this.#seat.groupName, guarantee, concurrency })
  }

  async stop(timeoutMs: number): Promise<void> {
    this.#stopping.abort()
    for (const leave of this.#leave.splice(0)) leave()
    clearTimeout(this.#pause)
    clearTimeout(this.#linger)
    clearInterval(this.#passing)
    this.#seat.gate.stop()
    const unfinished = (await within(timeoutMs, this.#idle())) ? 0 : await this.#cut()
    await within(LAST_WORDS_MS, this.#passAll())
    await within(LAST_WORDS_MS, Promise.all([this.#mode.close?.(), this.#leaveRoll?.()]))
    const { queue } = this.#place
    this.#place.context.events.emit('consumer-stopped', { queue: queue.name, group: this.#seat.groupName, unfinished })
  }

  #modeOf(): StreamMode {
    const { guarantee, leaseMs } = this.#options
    if (guarantee === 'exactly-once-effects') return new StreamExactlyOnce(this.#seat)
    if (guarantee === 'at-most-once')
      throw new NotSupported(guarantee, 'streams are read with exactly-once effects or at least once')
    return new StreamAtLeastOnce(this.#seat, { leaseMs, member: () => this.#roll.member, lost: () => this.#lostAll() })
  }

  get #active(): boolean {
    return this.#underWay.size > 0 || [...this.#cohorts].some(({ drained }) => !drained)
  }

  async #idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  async #cut(): Promise<number> {
    const unfinished = this.#seat.attempts.size
    const stopped = new Stopped(`consumer of ${this.#place.queue.name}`)
    for (const attempt of this.#seat.attempts) attempt.cut(stopped, ABORT_GRACE_MS)
    await within(ABORT_GRACE_MS + LAST_WORDS_MS, this.#idle())
    return unfinished
  }

  #keep(work: Promise<void>): void {
    const kept = work.catch((error) => this.#failed(error)).finally(() => this.#underWay.delete(kept))
    this.#underWay.add(kept)
  }

  /** The relay says that there is something new. */
  #wake(): void {
    this.#wokenAt = performance.now()
    for (const cohort of this.#cohorts) cohort.drained = false
    if (this.#linger === undefined) this.#pump()
  }

  #seeQueue(look: QueueLook | undefined): void {
    this.#seat.flow.see(look)
    this.#seat.gate.see(look)
  }

  // Lanes

  #see(look: GroupLook, member: number | undefined): void {
    if (this.#stopping.signal.aborted) return
    const opened = this.#paused && look.pausedMs === null
    this.#paused = look.pausedMs !== null
    const share = member === undefined ? ALL_LANES : shareOf(member, look.members)
    this.#wanted = (share | look.stale) & ~look.closed
    this.#letMovedGo(BigInt(look.moved))
    this.#shed()
    if ((this.#wanted & ~this.#owned) !== 0n) this.#adopt()
    if (look.dueMs !== null && look.dueMs <= 0) this.#keep(this.#retryParked())
    if (opened) this.#pump()
    // what nobody was told of is found by looking now and then
    if ([...this.#cohorts].some(({ cursor }) => BigInt(cursor.tick) < BigInt(look.newest))) this.#wake()
  }

  get #owned(): bigint {
    let owned = 0n
    for (const cohort of this.#cohorts) owned |= cohort.lanes
    return owned
  }

  // Those at work find out before they commit.
  #letMovedGo(number: bigint): void {
    for (const cohort of [...this.#cohorts])
      for (const strand of [...cohort.strands])
        if (!strand.busy && BigInt(strand.number) < number) this.#drop(cohort, strand, strand.lanes)
  }

  #shed(): void {
    for (const cohort of [...this.#cohorts])
      for (const strand of [...cohort.strands]) {
        const surplus = strand.lanes & ~this.#wanted
        if (surplus === 0n) strand.shed = 0n
        else if (strand.busy) strand.shed = surplus
        else this.#drop(cohort, strand, surplus)
      }
  }

  // They belong to nobody from here on, and the next look says who takes them.
  #drop(cohort: Cohort, strand: Strand, lanes: bigint): void {
    if (lanes === 0n) return
    strand.drop(lanes)
    if (this.#mode.release) this.#keep(this.#mode.release(lanes))
    if (strand.lanes === 0n) cohort.strands.splice(cohort.strands.indexOf(strand), 1)
    if (cohort.strands.length === 0) this.#cohorts.delete(cohort)
  }

  #lostAll(): void {
    for (const cohort of this.#cohorts) this.#letGo(cohort)
  }

  // Its lanes are taken again from where they are.
  #letGo(cohort: Cohort): void {
    for (const strand of [...cohort.strands]) {
      if (strand.busy) strand.shed = strand.lanes
      else this.#drop(cohort, strand, strand.lanes)
    }
    this.#roll.hurry()
  }

  #adopt(): void {
    if (this.#adopting || this.#pause !== undefined) return
    this.#adopting = true
    this.#keep(
      this.#adoptWanted().finally(() => {
        this.#adopting = false
        this.#pump()
      }),
    )
  }

  async #adoptWanted(): Promise<void> {
    const { context, group } = this.#seat
    const asked = this.#wanted & ~this.#owned
    const lanes = this.#mode.take ? await this.#mode.take(asked) : asked
    if (lanes === 0n) return
    const [found] = await run(context.database, groupSince(context.tables, group))
    this.#since = found?.since ?? null
    for (const set of await run(context.database, groupPositions(context.tables, group))) {
      const mine = set.lanes & lanes
      if (mine !== 0n && !this.#stopping.signal.aborted) await this.#settleDown(mine, set)
    }
  }

  async #settleDown(lanes: bigint, { number, at, replay }: LanesAt): Promise<void> {
    const strands = dealtLanes(lanes, this.#options.concurrency).map((some) => new Strand(some, number, at, replay))
    const cohort = new Cohort(at, strands, await this.#replaying(replay))
    if (![...this.#cohorts].some((other) => other.absorb(cohort))) this.#cohorts.add(cohort)
  }

  async #replaying(id: number | null): Promise<Replaying | undefined> {
    if (id === null) return undefined
    const { context } = this.#seat
    const [window] = await run(context.database, replayWindow(context.tables, id))
    return window && { id, ...window }
  }

  // Reading and working

  /** Begins everything that may be begun now. */
  #pump(): void {
    if (this.#stopping.signal.aborted || this.#pause !== undefined || this.#paused || !this.#seat.gate.open) return
    for (const cohort of [...this.#cohorts]) this.#join(cohort)
    for (const cohort of this.#cohorts) for (const strand of [...cohort.strands]) this.#begin(cohort, strand)
    for (const cohort of this.#cohorts) if (this.#mayRead(cohort)) this.#keep(this.#read(cohort))
  }

  #join(cohort: Cohort): void {
    for (const other of this.#cohorts)
      if (other !== cohort && this.#cohorts.has(cohort) && other.absorb(cohort)) this.#cohorts.delete(cohort)
  }

  #mayRead(cohort: Cohort): boolean {
    if (cohort.reading || cohort.drained || cohort.strands.length === 0) return false
    const limit = this.#rowsFor(cohort)
    const starves = cohort.strands.some(({ idle }) => idle)
    if (cohort.buffered > (starves ? FAR_BEHIND : 1) * limit) {
      if (starves) this.#leaveBehind(cohort, limit)
      return false
    }
    const restMs = Math.max(cohort.restUntil - performance.now(), this.#isAwaited(cohort) ? CATCH_UP_MS : 0)
    if (restMs <= 0) return true
    this.#linger ??= setTimeout(() => {
      this.#linger = undefined
      this.#pump()
    }, restMs)
    return false
  }

  // Those behind it are to come to where it is: together they read the log once. Those whose handlers are slow are not waited for, nor,
  // while handlers of its own have nothing to do, those who have read as much as they can work off.
  #isAwaited(cohort: Cohort): boolean {
    if (this.#cohorts.size === 1 || cohort.replay) return false
    const since = performance.now() - CATCH_UP_MS
    const free = this.#slotsTaken < this.#options.concurrency && cohort.buffered === 0
    return [...this.#cohorts].some((other) => {
      if (other.drained || !other.isBehind(cohort) || other.isHeldUp(since)) return false
      return !free || other.reading || other.buffered <= this.#rowsFor(other)
    })
  }

  #rowsFor(cohort: Cohort): number {
    const most = this.#window.shares(this.#seat.number) ? LOOK_ROWS.shared : LOOK_ROWS.alone
    return cohort.rowsFor(this.#seat.flow.maxBatchBytes, most)
  }

  // One that is slow does not make the others wait: its lanes are read for on their own, from where they are.
  #leaveBehind(cohort: Cohort, limit: number): void {
    for (const strand of cohort.strands)
      if (strand.busy && strand.buffered > (FAR_BEHIND / 2) * limit) strand.shed = strand.lanes
  }

  async #read(cohort: Cohort): Promise<void> {
    const { number } = this.#seat
    cohort.reading = true
    const began = performance.now()
    try {
      const replay = cohort.replay
      const limit = this.#rowsFor(cohort)
      const look = await this.#window.look({
        queue: number,
        lanes: cohort.lanes,
        from: cohort.cursor,
        limit,
        until: cohort.stop(this.#cohorts),
        since: replay ? replay.since : this.#since,
        before: replay?.before,
      })
      // the rest of what lies between two ticks is there already
      const more = cohort.cursor.id !== WHOLE || look.end.id !== WHOLE
      cohort.feed(look)
      // who was woken while it looked has not seen what that was for
      if (this.#wokenAt >= look.askedAt) cohort.drained = false
      const spentMs = performance.now() - began + cohort.workMs
      cohort.restUntil = more ? 0 : began + restMs(spentMs * this.#window.readersOf(number))
      this.#backoff.reset()
      if (replay && cohort.drained) this.#keep(this.#passIdle())
    } catch (error) {
      if (hasCode(error, LOG_TRIMMED)) this.#letGo(cohort)
      throw error
    } finally {
      cohort.reading = false
      setImmediate(() => this.#pump())
    }
  }

  #begin(cohort: Cohort, strand: Strand): void {
    if (strand.busy || strand.buffered === 0 || this.#slotsTaken >= this.#options.concurrency) return
    strand.busy = true
    strand.busySince = performance.now()
    this.#slotsTaken += 1
    this.#keep(this.#work(cohort, strand))
  }

  #slotsTaken = 0

  // Until a look says that the group is open.
  #halt(): void {
    this.#paused = true
    this.#roll.hurry()
  }

  async #work(cohort: Cohort, strand: Strand): Promise<void> {
    const piece = strand.next(this.#most)
    try {
      const worked = await this.#mode.work(strand, piece)
      this.#backoff.reset()
      this.#most = Math.min(this.#batchSize, 2 * this.#most)
      cohort.workMs = performance.now() - strand.busySince
      strand.passed(worked.rows)
      strand.number = worked.number
      strand.at = worked.at
      if (worked.paused) this.#halt()
      this.#lose(cohort, strand, worked.number === '0' ? strand.lanes : strand.lanes & ~worked.lanes)
    } catch (error) {
      // what took too long is tried again in smaller pieces
      if (hasCode(error, TICK_FORGOTTEN)) this.#most = Math.max(1, piece.rows.length >> 1)
      // what is known of the lanes may be wrong now
      this.#lose(cohort, strand, strand.lanes)
      throw error
    } finally {
      strand.busy = false
      this.#slotsTaken -= 1
      if (strand.shed !== 0n) {
        this.#drop(cohortOf(this.#cohorts, strand) ?? cohort, strand, strand.shed)
        this.#roll.hurry()
      }
      setImmediate(() => this.#pump())
    }
  }

  // Somebody else has moved them, or holds them.
  #lose(cohort: Cohort, strand: Strand, lanes: bigint): void {
    if (lanes === 0n) return
    this.#drop(cohortOf(this.#cohorts, strand) ?? cohort, strand, lanes)
    this.#roll.hurry()
  }

  async #passIdle(): Promise<void> {
    if (this.#pause !== undefined || this.#stopping.signal.aborted) return
    await this.#passAll()
  }

  /** Writes down how far lanes have come that nothing was for. */
  async #passAll(): Promise<void> {
    for (const cohort of [...this.#cohorts]) {
      const idle = cohort.strands.filter((strand) => strand.idle && !samePosition(strand.at, strand.end))
      const together = Map.groupBy(idle, ({ end, replay }) => `${end.base} ${end.tick} ${end.id} ${replay}`)
      for (const strands of together.values()) await this.#pass(strands)
    }
  }

  async #pass(strands: readonly Strand[]): Promise<void> {
    const { end } = strands[0]!
    for (const strand of strands) strand.busy = true
    try {
      const passed = await this.#mode.pass(strands, end)
      for (const strand of strands) {
        const cohort = cohortOf(this.#cohorts, strand)
        const lost = passed.number === '0' ? strand.lanes : strand.lanes & ~passed.lanes
        strand.number = passed.number
        strand.at = end
        if (cohort) this.#lose(cohort, strand, lost)
      }
    } catch (error) {
      for (const strand of strands) {
        const cohort = cohortOf(this.#cohorts, strand)
        if (cohort) this.#lose(cohort, strand, strand.lanes)
      }
      throw error
    } finally {
      for (const strand of strands) strand.busy = false
      this.#pump()
    }
  }

  // What is parked

  async #retryParked(): Promise<void> {
    const { context, group } = this.#seat
    if (this.#paused || !this.#seat.gate.open) return
    const share = this.#owned | this.#wanted
    // the key of a lane that stands still is nobody's lane
    const due = await run(context.database, dueKeys(context.tables, group, share === 0n ? 0n : ALL_LANES, MOST_DUE))
    for (const { key } of due) {
      if (this.#parkedUnderWay.has(key) || this.#slotsTaken >= this.#options.concurrency) continue
      this.#parkedUnderWay.add(key)
      this.#slotsTaken += 1
      this.#keep(
        this.#mode
          .workParked(key)
          .then(() => this.#roll.hurry())
          .finally(() => {
            this.#parkedUnderWay.delete(key)
            this.#slotsTaken -= 1
            this.#pump()
          }),
      )
    }
  }

  // The database is out of order: what fails is not made to fail faster.
  #failed(error: unknown): void {
    this.#report(error)
    if (this.#pause !== undefined || this.#stopping.signal.aborted) return
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#roll.hurry()
      this.#pump()
    }, this.#backoff.next())
  }

  #report(error: unknown): void {
    if (this.#throttle.allows(summarise(error).message)) report(this.#seat, error)
  }
}

function restMs(spentMs: number): number {
  return Math.max(REST.minMs, Math.min(REST.maxMs, REST.times * spentMs))
}

function cohortOf(cohorts: Iterable<Cohort>, strand: Strand): Cohort | undefined {
  for (const cohort of cohorts) if (cohort.strands.includes(strand)) return cohort
  return undefined
}
