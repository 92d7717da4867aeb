import type { EventBus } from '../events.ts'
import { Loop } from '../machinery/loop.ts'
import { type Query, type Queryable, run } from '../postgres/queryable.ts'
import type { Tables } from '../postgres/tables.ts'
import {
  cutOffFrom,
  dropShells,
  emptyPartition,
  foldTally,
  laggingGroups,
  makeInboxPart,
  makePartitions,
  trimAttempts,
  trimDeadLetters,
  trimDedupe,
  trimHeld,
  trimInbox,
  trimLogs,
  trimRequests,
} from '../postgres/upkeep.ts'
import { hasCode } from '../rules/error-summary.ts'
import { milliseconds, shape, wholeNumber } from '../rules/options.ts'

/** How long things are kept, in milliseconds; the same in every process of a database. */
export interface Retention {
  /** How long the log keeps a message after it was published, in milliseconds. @default 604_800_000 (7 days) */
  readonly outboxMs?: number
  /** How long the inbox remembers that a message was processed, in milliseconds. @default 691_200_000 (8 days) */
  readonly inboxMs?: number
  /** How long a dead letter is kept, in milliseconds. @default 2_592_000_000 (30 days) */
  readonly deadLettersMs?: number
  /**
   * How large the log may become, in bytes with its indexes: what is oldest goes before its time is over, as far as every reader has read
   * it. @default as large as its time wants
   */
  readonly outboxBytes?: number
}

const DAY_MS = 86_400_000

export const DEFAULT_RETENTION = Object.freeze({
  outboxMs: 7 * DAY_MS,
  inboxMs: 8 * DAY_MS,
  deadLettersMs: 30 * DAY_MS,
})

export const RETENTION = shape((z) =>
  z.strictObject({
    outboxMs: milliseconds(1).optional(),
    inboxMs: milliseconds(1).optional(),
    deadLettersMs: milliseconds(1).optional(),
    outboxBytes: wholeNumber(1, Number.MAX_SAFE_INTEGER).optional(),
  }),
)

/** How long things are kept, defaults filled in. */
export type Kept = Required<Omit<Retention, 'outboxBytes'>> & Pick<Retention, 'outboxBytes'>

export interface UpkeepContext {
  readonly database: Queryable
  readonly tables: Tables
  readonly events: EventBus
  readonly retention: Kept
  /** How long a round of all steps takes while nothing happens. */
  readonly roundMs: number
  /** How many messages this relay has routed so far. */
  readonly routed: () => number
  /** Whether this relay is the one to do it. */
  readonly onDuty: () => boolean
  readonly onError: (error: unknown) => void
}

type Done = { readonly done: unknown }

interface Step {
  readonly name: string
  readonly query: (t: Tables, retention: Kept) => Query<Done>
}

const STEPS: readonly Step[] = [
  { name: 'make-partitions', query: (t, { outboxMs }) => makePartitions(t, outboxMs) },
  { name: 'fold-tally', query: (t) => foldTally(t) },
  { name: 'make-inbox-part', query: (t) => makeInboxPart(t) },
  { name: 'trim-logs', query: (t) => trimLogs(t) },
  { name: 'empty-partition', query: (t, { outboxMs, outboxBytes }) => emptyPartition(t, outboxMs, outboxBytes) },
  { name: 'drop-shells', query: (t) => dropShells(t) },
  { name: 'trim-held', query: (t) => trimHeld(t) },
  { name: 'trim-inbox', query: (t, { inboxMs }) => trimInbox(t, inboxMs) },
  { name: 'trim-dedupe', query: (t) => trimDedupe(t) },
  { name: 'trim-attempts', query: (t, { outboxMs }) => trimAttempts(t, outboxMs) },
  { name: 'trim-requests', query: (t) => trimRequests(t) },
  { name: 'trim-dead-letters', query: (t, { deadLettersMs }) => trimDeadLetters(t, deadLettersMs) },
]

/** The steps of a round, in their order. */
export const UPKEEP_STEPS: readonly string[] = STEPS.map(({ name }) => name)

// What is not on duty does a tenth: the one on duty may be stopped without having died.
const STANDBY_SHARE = 1 / 10
const BUSY_SHARE = 6
const LOCK_NOT_AVAILABLE = '55P03'

/**
 * Partitions, retention and counts, one short step at a time, spread over a round. Each step is one statement under the
 * upkeep turn and asks for locks for 40 ms at most; not getting one is no error: its turn comes again with the next round.
 */
export class Upkeep {
  readonly #context: UpkeepContext
  readonly #loop: Loop
  #next = 0
  #routed = 0

  constructor(context: UpkeepContext) {
    this.#context = context
    this.#loop = new Loop((signal) => this.#step(signal), { onError: context.onError })
  }

  start(): void {
    this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
  }

  /** Every step once, one after the other. */
  async round(signal: AbortSignal): Promise<void> {
    for (const step of STEPS) await this.#take(step, signal)
  }

  async #step(signal: AbortSignal): Promise<number> {
    const step = STEPS[this.#next % STEPS.length]!
    this.#next += 1
    await this.#take(step, signal)
    return this.#context.roundMs / STEPS.length / this.#share()
  }

  // Nothing that a group has not read goes silently, and nothing is kept for one silently.
  async #tellOfUnread(emptied: unknown): Promise<void> {
    const { database, tables, retention, events } = this.#context
    if (typeof emptied === 'string') {
      for (const unread of await run(database, cutOffFrom(tables, emptied))) events.emit('group-cut-off', unread)
      return
    }
    const { outboxMs, outboxBytes = null } = retention
    for (const unread of await run(database, laggingGroups(tables, outboxMs, outboxBytes)))
      events.emit('group-lagging', unread)
  }

  #share(): number {
    const before = this.#routed
    this.#routed = this.#context.routed()
    if (!this.#context.onDuty()) return STANDBY_SHARE
    return this.#routed > before ? BUSY_SHARE : 1
  }

  async #take({ name, query }: Step, signal: AbortSignal): Promise<void> {
    const { database, tables, retention, events } = this.#context
    const startedAt = performance.now()
    try {
      if (signal.aborted) return
      const [result] = await run(database, query(tables, retention))
      events.emit('upkeep', { step: name, durationMs: performance.now() - startedAt, done: Boolean(result?.done) })
      if (name === 'empty-partition') await this.#tellOfUnread(result?.done)
    } catch (error) {
      if (!hasCode(error, LOCK_NOT_AVAILABLE)) throw error
      events.emit('upkeep', { step: name, durationMs: performance.now() - startedAt, done: false })
    }
  }
}
