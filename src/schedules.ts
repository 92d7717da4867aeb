import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { InvalidSchedule } from './errors.ts'
import type { Outbox, Publishable } from './outbox.ts'
import {
  databaseTime,
  putSchedule,
  removeSchedule,
  type StoredSchedule,
  storedSchedules,
} from './postgres/schedules.ts'
import { parseOptions, shape } from './rules/options.ts'
import type { MissedTicks } from './rules/schedule.ts'
import { nameProblem } from './rules/validate.ts'

export type { StoredSchedule } from './postgres/schedules.ts'

/** In which time zone a schedule is meant, and what becomes of ticks that nobody was there for. */
export interface ScheduleOptions {
  /** The IANA name of the time zone the cron expression is meant in. @default 'UTC' */
  readonly timeZone?: string
  /**
   * What becomes of ticks that no relay was there for within a minute: `skip` publishes none of them, `once` the last, `all` every
   * one. @default 'once'
   */
  readonly missed?: MissedTicks
}

const DEFAULTS = Object.freeze({ timeZone: 'UTC', missed: 'once' })

const OPTIONS = shape((z) =>
  z.strictObject({
    timeZone: z.string().default(DEFAULTS.timeZone),
    missed: z.enum(['skip', 'once', 'all']).default(DEFAULTS.missed),
  }),
)

/**
 * The recurring messages of a database, whoever declared them.
 *
 * ```ts
 * for (const { name, cron, nextAt } of await posthaste.schedules.list()) log.info(`${name}: ${cron}, next ${nextAt}`)
 * await posthaste.schedules.remove('close-books')
 * ```
 */
export class Schedules {
  readonly #context: Context
  readonly #outbox: Pick<Outbox, 'written'>
  readonly #owner: string | null

  constructor(context: Context, { outbox, owner }: { outbox: Pick<Outbox, 'written'>; owner: string | undefined }) {
    this.#context = context
    this.#outbox = outbox
    this.#owner = owner ?? null
  }

  /** Declares one by its name, or changes it; answers when its next tick is. */
  async put(name: string, cron: string, message: Publishable, options: ScheduleOptions = {}): Promise<Date> {
    const recurrence = { cron, ...parseOptions(OPTIONS, options) }
    const problem = nameProblem(name)
    if (problem !== undefined) throw new InvalidSchedule(String(name), `its name ${problem}`)
    const json = await this.#checked(name, message)
    const [clock] = await ask(this.#context, databaseTime())
    const { firstTick } = await import('./rules/schedule.ts') // with croner, which an import of the package leaves alone
    const nextAt = firstTick(name, recurrence, clock!.now)
    const stored = { ...recurrence, name: name.normalize('NFC'), message: json, nextAt, owner: this.#owner }
    const [put] = await ask(this.#context, putSchedule(this.#context.tables, stored))
    return put!.nextAt
  }

  /** All there are, by name. */
  async list(): Promise<StoredSchedule[]> {
    return await ask(this.#context, storedSchedules(this.#context.tables))
  }

  /** Ends one; says whether it was there. What it published stays published. */
  async remove(name: string): Promise<boolean> {
    const removed = await ask(this.#context, removeSchedule(this.#context.tables, name.normalize('NFC')))
    return removed.length > 0
  }

  async #checked(name: string, message: Publishable): Promise<string> {
    const { json, ownId, deliverAt, dedupeKey } = await this.#outbox.written(message)
    if (ownId) throw new InvalidSchedule(name, 'its message has an id of its own, and every tick is another message')
    if (dedupeKey !== undefined)
      throw new InvalidSchedule(name, 'its message has a dedupeKey, and every tick is another message')
    if (deliverAt !== undefined) throw new InvalidSchedule(name, 'its message has a deliverAt; use delayMs')
    return json
  }
}
