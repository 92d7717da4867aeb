import { type Judged, settledOf, tell } from '../consumer/verdict.ts'
import type { EventBus } from '../events.ts'
import type { ParkedRow, ParkedSettled, Parking } from '../postgres/streams.ts'
import { isHeld } from './account.ts'
import type { StreamSeat } from './seat.ts'

/** What became of the messages of a parked key: done in their order, until one failed again. */
export class ParkedAccount {
  readonly done: string[] = []
  readonly #seat: Pick<StreamSeat<unknown>, 'settings' | 'queue' | 'groupName'>
  readonly #dead: Extract<Parking, { kind: 'dead' }>[] = []
  readonly #judged: Judged[] = []
  #head: Pick<ParkedSettled, 'attempts' | 'history' | 'delayMs' | 'held'> | undefined

  constructor(seat: Pick<StreamSeat<unknown>, 'settings' | 'queue' | 'groupName'>) {
    this.#seat = seat
  }

  /** Whether the next one may be attempted. */
  enter(row: ParkedRow, judged: Judged): boolean {
    const { verdict } = judged
    if (verdict.kind === 'returned') {
      this.#head = { attempts: row.attempts, history: row.history, delayMs: verdict.delayMs, held: false }
      return false
    }
    this.#judged.push(judged)
    const { attempts, history = [], reason = '', delayMs = 0 } = settledOf(judged)
    if (verdict.kind === 'retry' || (verdict.kind === 'dead' && isHeld(verdict, this.#seat.settings))) {
      this.#head = { attempts, history, delayMs, held: verdict.kind === 'dead' }
      return false
    }
    if (verdict.kind === 'dead') this.#dead.push({ kind: 'dead', row, reason, attempts, history })
    this.done.push(row.number)
    return true
  }

  settled(_rows: readonly ParkedRow[]): Omit<ParkedSettled, 'group' | 'key' | 'dueAt'> {
    const head = this.#head ?? { attempts: 0, history: [], delayMs: 0, held: false }
    return { done: this.done, dead: this.#dead, ...head }
  }

  tell(events: EventBus): void {
    const { queue, groupName } = this.#seat
    for (const judged of this.#judged) tell(events, queue.name, judged, groupName)
  }
}
