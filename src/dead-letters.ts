import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { InvalidOption } from './errors.ts'
import { withPeer } from './machinery/peer.ts'
import type { DeadLetterRow, DeadLettersWhere, WholeDeadLetterRow } from './postgres/dead-letters.ts'
import { numberOf } from './queue-number.ts'
import { jsonText } from './rules/json-text.ts'
import { parseOptions, passedThrough, shape, wholeNumber } from './rules/options.ts'

/** A delivery that ended badly: which, why, and every attempt. */
export interface DeadLetter extends DeadLetterRow {}

/** A dead letter with its message as it was published. `payload` is undefined when the message has a body. */
export interface WholeDeadLetter extends WholeDeadLetterRow {}

/** Which dead letters; what is left out is not looked at. */
export interface DeadLetterFilter {
  /** The queue it ended in. @default all, or the queue asked for */
  readonly queue?: string | undefined
  /** Why: `max-attempts`, `crashed`, `unknown-type`, or a handler's own words. @default any */
  readonly reason?: string | undefined
  /** The type of the message. @default any */
  readonly type?: string | undefined
  /** Those that ended at this time or later. @default any */
  readonly since?: Date | undefined
  /** Those that ended before this time. @default any */
  readonly until?: Date | undefined
  /** Those with this text in the reason, type, key, payload or an error, whatever its case. @default any */
  readonly text?: string | undefined
}

/** Which dead letters to list, and how many. */
export interface ListOptions extends DeadLetterFilter {
  /** How many, 1 to 1,000. @default 100 */
  readonly limit?: number | undefined
  /** Continues a list: only what is older than this id. @default from the newest */
  readonly before?: string | undefined
}

/** One id, several, or all that a filter finds: `{}` are all there are. */
export type DeadLetterSelection = string | readonly string[] | DeadLetterFilter

/** Where redriven deliveries go, with what payload, and who says so. */
export interface RedriveOptions {
  /** Who does it: it is noted in the history of the delivery. @default an unknown hand */
  readonly by?: string | undefined
  /** Another queue than the one they died in. @default that one */
  readonly to?: string | undefined
  /** Another payload, for one dead letter; its message keeps its id. @default its own */
  readonly payload?: unknown
  /** Only answers what would be redriven. @default false */
  readonly dryRun?: boolean | undefined
  /** Ends it after the transaction under way; the answer tells what was redriven until then. @default none */
  readonly signal?: AbortSignal | undefined
}

/** Who purges, and what may end it. */
export interface PurgeOptions {
  /** Who does it, for the journal. @default an unknown hand */
  readonly by?: string | undefined
  /** Ends it after the transaction under way; the answer tells what was purged until then. @default none */
  readonly signal?: AbortSignal | undefined
}

/** What was put back, and what could not be. */
export interface Redriven {
  readonly redriven: number
  /** Ids that are no dead letters (any more): redriven before, purged, or of another queue. */
  readonly missing: readonly string[]
  /** Ids whose message is nowhere any more; they stay dead letters. */
  readonly unreadable: readonly string[]
}

/** How many were deleted, and which ids were none. */
export interface Purged {
  readonly purged: number
  readonly missing: readonly string[]
}

const DEFAULTS = Object.freeze({ limit: 100 })

const FILTER = shape((z) =>
  z.strictObject({
    queue: z.string().optional(),
    reason: z.string().optional(),
    type: z.string().optional(),
    since: z.date().optional(),
    until: z.date().optional(),
    text: z.string().min(1).optional(),
  }),
)
const LIST = shape((z) =>
  FILTER().extend({
    limit: wholeNumber(1, 1_000).default(DEFAULTS.limit),
    before: z.string().optional(),
  }),
)
const PURGE = shape((z) =>
  z.strictObject({
    by: z.string().optional(),
    signal: passedThrough<AbortSignal | undefined>().optional(),
  }),
)
const REDRIVE = shape((z) =>
  PURGE().extend({
    to: z.string().optional(),
    payload: passedThrough<unknown>().optional(),
    dryRun: z.boolean().default(false),
  }),
)

interface Portion {
  readonly ids: readonly string[]
  readonly queue: number | null
}

// They are composed with Kysely, whose loading nobody is to wait for who only publishes and consumes.
const statements = () => withPeer('kysely', () => import('./postgres/dead-letters.ts'))

// A statement that moves more bodies than this would hold its locks, and upkeep, for too long.
const AT_ONCE = 200

// The limit of the database is looked at there.
const MOST_BYTES = 268_435_455

/**
 * The deliveries that ended badly, kept whole with their history until they are redriven, purged, or past retention.
 *
 * ```ts
 * const { deadLetters } = posthaste.queue('billing')
 * const [newest] = await deadLetters.list({ reason: 'max-attempts' })
 * if (newest) await deadLetters.redrive(newest.id, { by: 'ada' })
 * ```
 */
export class DeadLetters {
  readonly #context: Context
  readonly #queue: string | undefined
  readonly #wakeRelay: (() => void) | undefined

  /** Of one queue, or of all. The database wakes the relay on duty; `wakeRelay` is for one that hears no notifications. */
  constructor(
    context: Context,
    { queue, wakeRelay }: { readonly queue?: string; readonly wakeRelay?: () => void } = {},
  ) {
    this.#context = context
    this.#queue = queue
    this.#wakeRelay = wakeRelay
  }

  /** Without their content, newest first. */
  async list(options: ListOptions = {}): Promise<DeadLetter[]> {
    const { limit, before, ...filter } = parseOptions(LIST, options)
    const where = { ...(await this.#where(filter)), before: before === undefined ? undefined : checkedId(before) }
    return await ask(this.#context, (await statements()).listDeadLetters(this.#context.tables, where, limit))
  }

  /** One, with its message; undefined when there is none of this id. */
  async show(id: string): Promise<WholeDeadLetter | undefined> {
    const { queue } = await this.#where({})
    const [found] = await ask(
      this.#context,
      (await statements()).showDeadLetter(this.#context.tables, checkedId(id), queue),
    )
    return found
  }

  /**
   * Puts them back as if they had never been attempted, due now. Each is put back once, however many redrive it at the same
   * time; its message is the same, with the same id, and its history stays.
   *
   * Those that a filter finds are put back a few hundred per transaction; what dies meanwhile is left alone.
   */
  async redrive(which: DeadLetterSelection, options: RedriveOptions = {}): Promise<Redriven> {
    const { by = null, signal, to, payload, dryRun: dry } = parseOptions(REDRIVE, options)
    const how = {
      by,
      dry,
      to: to === undefined ? null : await numberOf(this.#context, to),
      payload:
        payload === undefined ? null : jsonText(payload, MOST_BYTES, { messageType: 'redriven', path: 'payload' }),
    }
    if (payload !== undefined && (isFilter(which) || [which].flat().length !== 1))
      throw new InvalidOption('payload', 'it is for one dead letter, named by its id')
    const seen: { id: string; queue: string; redriven: boolean }[] = []
    const asked: string[] = []
    for await (const { ids, queue } of this.#selected(which, signal)) {
      const found = await ask(this.#context, (await statements()).redrive(this.#context.tables, { ...how, ids, queue }))
      const back = found.filter(({ redriven }) => redriven)
      if (!dry) this.#tell('redriven', back)
      asked.push(...ids)
      seen.push(...found)
    }
    const back = seen.filter(({ redriven }) => redriven)
    if (back.length > 0 && !dry) this.#wakeRelay?.()
    return {
      redriven: back.length,
      missing: without(asked, seen),
      unreadable: seen.filter(({ redriven }) => !redriven).map(({ id }) => id),
    }
  }

  /** How many there are of a selection. */
  async count(which: DeadLetterSelection = {}): Promise<number> {
    const where = isFilter(which)
      ? await this.#where(parseOptions(FILTER, which))
      : { ...(await this.#where({})), ids: [which].flat().map(checkedId) }
    const [found] = await ask(this.#context, (await statements()).countDeadLetters(this.#context.tables, where))
    return found!
  }

  /** Deletes them for good, a few hundred per transaction. */
  async purge(which: DeadLetterSelection, options: PurgeOptions = {}): Promise<Purged> {
    const { by = null, signal } = parseOptions(PURGE, options)
    const seen: { id: string; queue: string }[] = []
    const asked: string[] = []
    for await (const { ids, queue } of this.#selected(which, signal)) {
      const gone = await ask(
        this.#context,
        (await statements()).purgeDeadLetters(this.#context.tables, { ids, queue, by }),
      )
      this.#tell('purged', gone)
      asked.push(...ids)
      seen.push(...gone)
    }
    return { purged: seen.length, missing: without(asked, seen) }
  }

  async *#selected(which: DeadLetterSelection, signal: AbortSignal | undefined): AsyncGenerator<Portion> {
    const portions = isFilter(which)
      ? this.#found(await this.#where(parseOptions(FILTER, which)))
      : this.#named([...new Set([which].flat().map(checkedId))])
    for await (const portion of portions) {
      if (signal?.aborted) return
      yield portion
    }
  }

  async *#named(ids: readonly string[]): AsyncGenerator<Portion> {
    const { queue = null } = await this.#where({})
    for (let first = 0; first < ids.length; first += AT_ONCE) yield { ids: ids.slice(first, first + AT_ONCE), queue }
  }

  // Up to the newest there is now: one that fails again at once would otherwise be put back for ever.
  async *#found(where: DeadLettersWhere): AsyncGenerator<Portion> {
    const { tables } = this.#context
    const [newest] = await ask(this.#context, (await statements()).listDeadLetters(tables, where, 1))
    if (!newest) return
    const before = String(BigInt(newest.id) + 1n)
    let after = '0'
    for (;;) {
      const ids = await ask(
        this.#context,
        (await statements()).deadLetterIds(tables, { ...where, after, before }, AT_ONCE),
      )
      if (ids.length === 0) return
      yield { ids, queue: where.queue ?? null }
      after = ids.at(-1)!
    }
  }

  async #where({ queue = this.#queue, ...filter }: DeadLetterFilter): Promise<DeadLettersWhere> {
    if (this.#queue !== undefined && queue !== this.#queue) {
      throw new InvalidOption('queue', `these are the dead letters of "${this.#queue}"`)
    }
    return { ...filter, queue: queue === undefined ? undefined : await numberOf(this.#context, queue) }
  }

  #tell(event: 'redriven' | 'purged', letters: readonly { readonly queue: string }[]): void {
    for (const [queue, { length }] of Map.groupBy(letters, (letter) => letter.queue)) {
      this.#context.events.emit(event, { queue, deliveries: length })
    }
  }
}

function isFilter(which: DeadLetterSelection): which is DeadLetterFilter {
  return typeof which === 'object' && !Array.isArray(which)
}

function without(asked: readonly string[], seen: readonly { readonly id: string }[]): string[] {
  const there = new Set(seen.map(({ id }) => id))
  return asked.filter((id) => !there.has(id))
}

function checkedId(id: string): string {
  const canonical = /^0*([1-9]\d{0,18})$/.exec(id)?.[1]
  if (canonical === undefined || BigInt(canonical) >= 2n ** 63n) {
    throw new InvalidOption('id', 'a dead letter’s id is a whole number above 0')
  }
  return canonical
}
