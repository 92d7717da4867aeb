import { ask } from '../ask.ts'
import type { Context } from '../context.ts'
import { InvalidOption, ReplayUnderWay, UnknownGroup } from '../errors.ts'
import {
  type Counted,
  countStream,
  deleteGroup,
  type GroupStatus,
  groupNames,
  groupNumber,
  groupStatus,
  latestPosition,
  type ParkedKey,
  parkedOf,
  pauseGroup,
  positionOfMessage,
  type Range,
  releaseKeys,
  replayGroup,
  resumeGroup,
  retryKey,
  seekGroup,
  skipHead,
  WHOLE,
} from '../postgres/streams.ts'
import { numberOf } from '../queue-number.ts'
import { hasCode } from '../rules/error-summary.ts'
import { milliseconds, parseOptions, shape, wholeNumber } from '../rules/options.ts'
import { type From, placeOf } from './groups.ts'

/** For how long nothing of a group is read, why, and by whom. */
/** How a group is paused. */
export interface GroupPauseOptions {
  /** For how long, in milliseconds; then it resumes by itself. @default until `resume()` */
  readonly forMs?: number | undefined
  /** Why; `status` shows it. @default none */
  readonly reason?: string | undefined
  /** Who does it; `status` shows it. @default none */
  readonly by?: string | undefined
}

const PAUSE = shape((z) =>
  z.strictObject({
    forMs: milliseconds(1).optional(),
    reason: z.string().min(1).optional(),
    by: z.string().min(1).optional(),
  }),
)

/** How a group is moved. */
export interface SeekOptions {
  /** Who does it; the journal shows it. @default none */
  readonly by?: string | undefined
  /** Changes nothing, and answers what there would be to read. @default false */
  readonly dryRun?: boolean
}

/** Which part of the log a group reads again. */
export interface ReplayOptions extends SeekOptions {
  /** Where it begins: with the oldest message, at a time, or with a message, by its id. */
  readonly from: 'earliest' | Date | string
  /** Where it ends: before a time, or with a message, by its id. @default with what is there now */
  readonly to?: Date | string | undefined
}

/** What of that which is parked is shown. */
export interface ParkedOptions {
  /** One key alone. @default all */
  readonly key?: string | undefined
  /** 1 to 10,000. @default 100 */
  readonly limit?: number
}

const SEEK = shape((z) => z.strictObject({ by: z.string().min(1).optional(), dryRun: z.boolean().default(false) }))
const REPLAY = shape((z) =>
  SEEK().extend({
    from: z.union([z.literal('earliest'), z.date(), z.guid()]),
    to: z.union([z.date(), z.guid()]).optional(),
  }),
)
const PARKED = shape((z) => z.strictObject({ key: z.string().optional(), limit: wholeNumber(1, 10_000).default(100) }))

function told(place: Date | string): string {
  return place instanceof Date ? place.toISOString() : place
}

/** The readers of a stream that share it, for those who operate them. */
export class Group {
  readonly stream: string
  readonly name: string
  readonly #context: Context

  constructor(context: Context, { stream, name }: { readonly stream: string; readonly name: string }) {
    this.#context = context
    this.stream = stream
    this.name = name
  }

  /**
   * No process begins anything for the group from now on, until the time is over or somebody resumes it. Handlers under way finish;
   * where it has come stays, and so does the log that it has not read.
   */
  async pause(options: GroupPauseOptions = {}): Promise<void> {
    const { forMs = null, reason = null, by = null } = parseOptions(PAUSE, options)
    const group = await this.#number()
    await ask(this.#context, pauseGroup(this.#context.tables, { group, forMs, reason, by }))
  }

  /** Goes on. False: it was not paused. */
  async resume(): Promise<boolean> {
    const [{ resumed } = { resumed: false }] = await ask(
      this.#context,
      resumeGroup(this.#context.tables, await this.#number()),
    )
    return resumed
  }

  /** How it stands: how far behind in messages and time, what it has put aside, who reads. */
  async status(): Promise<GroupStatus> {
    await this.#number()
    const queue = await numberOf(this.#context, this.stream)
    const [found] = await ask(this.#context, groupStatus(this.#context.tables, queue, this.name))
    return found!
  }

  /**
   * Goes on from somewhere else, back or forth: `earliest`, `latest`, a time, or a message by its id. Readers at work find before they
   * commit that they are elsewhere, and their effects are rolled back. What is parked stays parked. With `dryRun` nothing changes, and
   * the answer says what there is to read from there.
   *
   * ```ts
   * await posthaste.stream('ledger').group('fraud').seek(new Date('2026-01-01'))
   * ```
   */
  async seek(to: From, options: SeekOptions = {}): Promise<Counted> {
    const { by = null, dryRun } = parseOptions(SEEK, options)
    const { tables } = this.#context
    const group = await this.#number()
    const { at, since } = await placeOf(this.#context, to)
    const counted = await this.#count({ at, since, ...(await this.#end()) })
    const facts = { to: to instanceof Date ? to.toISOString() : to }
    if (!dryRun) await ask(this.#context, seekGroup(tables, { group, by, facts, at, since }))
    return counted
  }

  /**
   * Reads a part of the log again, from a time or a message up to another, and then goes on from where it is now; what is new waits
   * until then. A reader with `replayGuard` passes over what it has processed. With `dryRun` nothing changes; the answer says how many
   * messages it would be, and how many of them the inbox knows.
   *
   * ```ts
   * const { messages, processed } = await posthaste.stream('ledger').group('fraud').replay({ from: new Date('2026-01-01'), dryRun: true })
   * ```
   */
  async replay(options: ReplayOptions): Promise<Counted> {
    const { from, to, by = null, dryRun } = parseOptions(REPLAY, options)
    const group = await this.#number()
    const { at, since } = await placeOf(this.#context, from)
    const range = { at, since, ...(await this.#end(to)) }
    const counted = await this.#count(range)
    if (dryRun) return counted
    const facts = { from: told(from), to: to === undefined ? null : told(to), messages: counted.messages }
    try {
      await ask(this.#context, replayGroup(this.#context.tables, { group, by, facts, ...range }))
    } catch (error) {
      if (hasCode(error, 'PH013')) throw new ReplayUnderWay(this.stream, this.name, { cause: error })
      throw error
    }
    return counted
  }

  /** Deletes it: where it is, and what it has parked, which is answered. A consumer of it that runs reads nothing any more. */
  async delete(options: { readonly by?: string } = {}): Promise<{ readonly parked: number }> {
    const [deleted] = await ask(
      this.#context,
      deleteGroup(this.#context.tables, await this.#number(), options.by ?? null),
    )
    return deleted!
  }

  /** What is put aside because it failed: each key with its head, and how much waits behind it; the oldest first. */
  async parked(options: ParkedOptions = {}): Promise<ParkedKey[]> {
    const { key = null, limit } = parseOptions(PARKED, options)
    return await ask(this.#context, parkedOf(this.#context.tables, await this.#number(), key, limit))
  }

  /** Attempts the head of a parked key now, also one that was held; what waits behind it follows in order. False: no such key. */
  async retry(key: string): Promise<boolean> {
    const [{ done } = { done: false }] = await ask(
      this.#context,
      retryKey(this.#context.tables, await this.#number(), key),
    )
    return done
  }

  /** Makes the head of a parked key a dead letter, `skipped`; what waits behind it follows in order. False: no such key. */
  async skip(key: string, options: { readonly by?: string } = {}): Promise<boolean> {
    const { tables } = this.#context
    const [{ done } = { done: false }] = await ask(
      this.#context,
      skipHead(tables, await this.#number(), key, options.by ?? null),
    )
    return done
  }

  /** Attempts the heads of all that is parked now, also of what was held; what waits behind each follows in order. Answers how many keys. */
  async release(): Promise<number> {
    const [{ released } = { released: 0 }] = await ask(
      this.#context,
      releaseKeys(this.#context.tables, await this.#number()),
    )
    return released
  }

  // Up to what is there now, or up to a time or a message, which is the last.
  async #end(to?: Date | string): Promise<Pick<Range, 'lastTick' | 'lastId' | 'before'>> {
    const { tables } = this.#context
    const [latest] = await ask(this.#context, latestPosition(tables))
    if (to === undefined || to instanceof Date) return { lastTick: latest!.tick, lastId: WHOLE, before: to ?? null }
    const [at] = await ask(this.#context, positionOfMessage(tables, to, true))
    if (!at) throw new InvalidOption('to', `the log holds no message "${to}"`)
    return { lastTick: at.tick, lastId: at.id, before: null }
  }

  async #count(range: Omit<Range, 'before'> & { readonly before: Date | null }): Promise<Counted> {
    const queue = await numberOf(this.#context, this.stream)
    const consumer = `${this.stream}/${this.name}`
    const [counted] = await ask(this.#context, countStream(this.#context.tables, { queue, consumer, ...range }))
    return counted!
  }

  async #number(): Promise<number> {
    const { tables } = this.#context
    const queue = await numberOf(this.#context, this.stream)
    const [found] = await ask(this.#context, groupNumber(tables, queue, this.name))
    if (found) return found.id
    const names = await ask(this.#context, groupNames(tables, queue))
    throw new UnknownGroup(
      this.stream,
      this.name,
      names.map(({ name }) => name),
    )
  }
}
