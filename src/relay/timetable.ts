import type { EventBus } from '../events.ts'
import { Loop } from '../machinery/loop.ts'
import type { Listener } from '../postgres/listener.ts'
import { type Queryable, run } from '../postgres/queryable.ts'
import { type DueSchedule, dueSchedules, fireSchedule, schedulesChannel } from '../postgres/schedules.ts'
import type { Tables } from '../postgres/tables.ts'

export interface TimetableContext {
  readonly database: Queryable
  readonly tables: Tables
  readonly events: EventBus
  readonly listener: Pick<Listener, 'subscribe' | 'healthy'>
  /** Whether this relay is the one to do it at once. */
  readonly onDuty: () => boolean
  readonly onError: (error: unknown) => void
}

const AT_ONCE = 100

// What could not be published, because its exchange is gone or its message too large, is no reason to ask all the time.
const AGAIN_MS = 5_000

// A schedule is declared with a notification; where none arrive, it is looked for.
const LOOK_AGAIN_MS = 60_000
const LOOK_AGAIN_WITHOUT_LISTEN_MS = 5_000

// The one on duty may be stopped without having died.
const STANDBY_PATIENCE_MS = 1_000

/**
 * Publishes recurring messages when their ticks come. Which ticks are due is worked out here, and who publishes them is settled
 * by the database: the one who moves the schedule on from the tick it found. A relay that dies before that has published
 * nothing, and one that comes too late publishes nothing.
 */
export class Timetable {
  readonly #context: TimetableContext
  readonly #loop: Loop
  #unsubscribe: (() => void) | undefined

  constructor(context: TimetableContext) {
    this.#context = context
    this.#loop = new Loop(() => this.#step(), { onError: context.onError })
  }

  start(): void {
    const { listener, tables } = this.#context
    this.#unsubscribe = listener.subscribe(schedulesChannel(tables), () => this.#loop.wake())
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    await this.#loop.stop()
  }

  /** Publishes what is due; answers how long there is nothing to do, as far as is known. */
  async look(): Promise<number> {
    const { database, tables } = this.#context
    const due = await run(database, dueSchedules(tables, AT_ONCE))
    const [first] = due
    if (!first) return Number.POSITIVE_INFINITY
    if (first.name === null) return first.waitMs
    let failed = false
    for (const schedule of due) if (!(await this.#fire(schedule, schedule.name!))) failed = true
    return failed ? AGAIN_MS : 0
  }

  async #step(): Promise<number> {
    const { listener, onDuty } = this.#context
    const waitMs = (await this.look()) + (onDuty() ? 0 : STANDBY_PATIENCE_MS)
    return Math.min(Math.max(0, Math.ceil(waitMs)), listener.healthy ? LOOK_AGAIN_MS : LOOK_AGAIN_WITHOUT_LISTEN_MS)
  }

  // One that cannot be published keeps no other from its tick, and is tried again.
  async #fire(schedule: DueSchedule, name: string): Promise<boolean> {
    const { database, tables, events, onError } = this.#context
    const { nextAt: expected, now } = schedule
    try {
      const { dueTicks } = await import('../rules/schedule.ts')
      const { ticks, next } = dueTicks(name, schedule, { from: expected, now })
      const [answer] = await run(database, fireSchedule(tables, { name, expected, next, ticks }))
      if (answer?.fired) events.emit('ticked', { schedule: name, messages: ticks.length })
      return true
    } catch (error) {
      onError(error)
      return false
    }
  }
}
