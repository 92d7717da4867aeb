import { AssertionError } from 'node:assert'
import { notifyRelay } from '../postgres/channels.ts'
import { type Queryable, run } from '../postgres/queryable.ts'
import type { Tables } from '../postgres/tables.ts'
import { freezeTime, hasMovableClock, moveTime, thawTime, timeNow } from '../postgres/test-time.ts'

/** A span of time, in one or several units; a number is milliseconds. */
export type Span =
  | number
  | {
      readonly days?: number
      readonly hours?: number
      readonly minutes?: number
      readonly seconds?: number
      readonly ms?: number
    }

/**
 * The clock of a test database, by which everything in it goes: when a retry is due, a delay over, a lease lapsed, a message
 * expired, a partition past retention. Moving it wakes the relay; nobody waits for the time that is skipped.
 *
 * The clocks of processes stay as they are: a handler's `timeoutMs`, and a consumer's own idea of when to renew its lease.
 *
 * ```ts
 * await using database = await createTestDatabase()
 * await database.clock.advance({ hours: 1 })
 * ```
 */
export class DatabaseClock {
  readonly #database: Queryable
  readonly #tables: Tables

  constructor(database: Queryable, tables: Tables) {
    this.#database = database
    this.#tables = tables
  }

  /** What it shows. */
  async now(): Promise<Date> {
    await this.#mustMove()
    const [shown] = await run(this.#database, timeNow(this.#tables))
    return shown!
  }

  /** Moves it on (or, with a negative span, back); answers what it shows then. */
  async advance(by: Span): Promise<Date> {
    await this.#mustMove()
    await run(this.#database, moveTime(this.#tables, msOf(by)))
    return await this.#changed()
  }

  /** Moves it to a time, from where it goes on. */
  async travelTo(time: Date): Promise<Date> {
    return await this.advance(time.getTime() - (await this.now()).getTime())
  }

  /** Stops it, at this time or at the one it shows. `advance` still moves it. */
  async freeze(at?: Date): Promise<Date> {
    await this.#mustMove()
    await run(this.#database, freezeTime(this.#tables, at ?? null))
    return await this.#changed()
  }

  /** Lets it go on from the time it shows. */
  async thaw(): Promise<Date> {
    await this.#mustMove()
    await run(this.#database, thawTime(this.#tables))
    return await this.#changed()
  }

  async #changed(): Promise<Date> {
    await run(this.#database, notifyRelay(this.#tables))
    return await this.now()
  }

  async #mustMove(): Promise<void> {
    const [there] = await run(this.#database, hasMovableClock(this.#tables))
    if (there) return
    throw new AssertionError({
      message: `The clock of schema "${this.#tables.schema}" cannot be moved here: make the database with createTestDatabase()`,
    })
  }
}

const UNITS = { days: 86_400_000, hours: 3_600_000, minutes: 60_000, seconds: 1_000, ms: 1 }

function msOf(span: Span): number {
  if (typeof span === 'number') return span
  return Object.entries(span).reduce((sum, [unit, count]) => sum + count * UNITS[unit as keyof typeof UNITS], 0)
}
