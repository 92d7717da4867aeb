import type { Context } from '../context.ts'
import { Recovery } from './recovery.ts'
import { Router } from './router.ts'
import { Timetable } from './timetable.ts'
import { type Kept, Upkeep } from './upkeep.ts'

const CHUNK = 1_000

/** What a relay does, once: for processes that are not there long enough to run one. Beside a relay it changes nothing. */
export class Errand {
  readonly #router: Router
  readonly #recovery: Recovery
  readonly #upkeep: Upkeep
  readonly #timetable: Timetable

  constructor(context: Context, retention: Kept) {
    this.#router = new Router(context, CHUNK)
    this.#recovery = new Recovery(context)
    this.#timetable = new Timetable({ ...context, onDuty: () => true, onError: () => {} })
    this.#upkeep = new Upkeep({
      ...context,
      retention,
      roundMs: 0,
      routed: () => this.#router.routed,
      onDuty: () => true,
      onError: () => {},
    })
  }

  /** Publishes ticks that have come, takes back lapsed leases, routes what was published and promotes what is due; whether there was something. */
  async move(): Promise<boolean> {
    await this.#timetable.look()
    const recovered = await this.#recovery.recover()
    const { messages, promoted } = await this.#router.look({ sweep: true })
    return recovered + messages + promoted > 0
  }

  /** A round of upkeep, as far as the signal lets it come. */
  async upkeep(signal: AbortSignal): Promise<void> {
    await this.#upkeep.round(signal)
  }
}
