import type { Closing } from '../consumer/gate.ts'
import { type Judged, settledOf, tell, type Verdict } from '../consumer/verdict.ts'
import type { EventBus } from '../events.ts'
import type { Parking, Position, StreamRow } from '../postgres/streams.ts'
import type { StreamSettings } from '../rules/topology.ts'
import type { StreamSeat } from './seat.ts'

type AccountSeat = Pick<StreamSeat<unknown>, 'settings' | 'queue' | 'groupName'> & {
  readonly context: { readonly events: EventBus }
}

/** Told of once it is committed. */
interface Told {
  readonly row: StreamRow
  readonly judged: Judged
  readonly parked: boolean
}

/**
 * What became of the messages of one transaction, in their order: which are done, which are put aside and with them what comes
 * later of their keys, which lanes stand still, and how far it came.
 */
export class Account {
  readonly parking: Parking[] = []
  /** Lanes that stand still behind one of these messages. */
  readonly closed = new Map<number, StreamRow>()
  /** Ids whose notes in the inbox are to be taken back. */
  readonly unprocessed: string[] = []
  /** The last message that was accounted for, when it had to be broken off. */
  last: StreamRow | undefined
  stopped = false
  closing: Closing | undefined
  readonly #seat: AccountSeat
  /** Whether anybody is told of what is simply done. */
  readonly #heard: boolean
  readonly #parked: Set<string>
  readonly #told: Told[] = []

  constructor(seat: AccountSeat, parked: Iterable<string>) {
    this.#seat = seat
    this.#heard = seat.context.events.heard('completed')
    this.#parked = new Set(parked)
  }

  /** Whether there is nothing to be written of them but how far it came. */
  get writesNothing(): boolean {
    return this.parking.length === 0 && this.closed.size === 0 && this.closing === undefined
  }

  /** Whether a message has to wait for an earlier one; then it is accounted for. */
  waits(row: StreamRow): boolean {
    if (this.closed.has(row.lane)) {
      this.unprocessed.push(row.messageId)
      return true
    }
    const key = row.body?.key
    if (key == null || !this.#parked.has(key)) return false
    this.parking.push({ kind: 'behind', row, key })
    this.unprocessed.push(row.messageId)
    this.last = row
    return true
  }

  /** What one attempt came to. Nothing more is to be begun when `stopped` is true afterwards. */
  enter(row: StreamRow, judged: Judged): void {
    const { verdict } = judged
    if (verdict.kind === 'returned' && verdict.version === undefined) {
      this.stopped = true
      this.closing = verdict.closing
      return
    }
    this.last = row
    const parking = parkingOf(row, judged, this.#seat.settings)
    if (parking) this.#put(row, parking)
    if (verdict.kind === 'completed' && !this.#heard) return
    this.#told.push({ row, judged, parked: parking !== undefined && parking.kind !== 'dead' })
  }

  /** Says what became of them, once that is committed. */
  tell(events: EventBus): void {
    const { queue, groupName } = this.#seat
    for (const { row, judged, parked } of this.#told) {
      tell(events, queue.name, judged, groupName)
      if (parked)
        events.emit('parked', { queue: queue.name, group: groupName, ...parkedFacts(row, this.#seat.settings) })
    }
    if (this.parking.some(({ kind }) => kind === 'behind') && events.heard('parked-behind'))
      for (const parking of this.parking)
        if (parking.kind === 'behind')
          events.emit('parked-behind', {
            queue: queue.name,
            group: groupName,
            key: parking.key,
            messageId: parking.row.messageId,
          })
  }

  #put(row: StreamRow, parking: Parking): void {
    this.parking.push(parking)
    this.unprocessed.push(row.messageId)
    if (parking.kind !== 'head') return
    if (parking.scope === 'key') this.#parked.add(parking.key)
    if (parking.scope === 'lane') this.closed.set(row.lane, row)
  }
}

/** What is parked for a failed message: by what it goes, and what waits with it. */
export function parkedFacts(row: StreamRow, { headOfLine }: StreamSettings) {
  const key = row.body?.key
  if (headOfLine === 'block') return { key: `lane ${row.lane}`, scope: 'lane' as const, messageId: row.messageId }
  if (headOfLine === 'skip' || key == null)
    return { key: `message ${row.messageId}`, scope: 'message' as const, messageId: row.messageId }
  return { key, scope: 'key' as const, messageId: row.messageId }
}

/** What is put aside because of an attempt; undefined when nothing is. */
export function parkingOf(row: StreamRow, judged: Judged, settings: StreamSettings): Parking | undefined {
  const { verdict } = judged
  if (verdict.kind === 'returned') return leftToNewer(row, verdict.delayMs, settings)
  if (verdict.kind !== 'retry' && verdict.kind !== 'dead') return undefined
  const { attempts, history = [], reason = '' } = settledOf(judged)
  if (verdict.kind === 'dead' && !isHeld(verdict, settings)) return { kind: 'dead', row, reason, attempts, history }
  const { key, scope } = parkedFacts(row, settings)
  const delayMs = verdict.kind === 'retry' ? verdict.delayMs : 0
  return { kind: 'head', row, key, scope, attempts, history, delayMs, held: verdict.kind === 'dead' }
}

// It waits aside for a process that knows its version, and nothing is charged.
function leftToNewer(row: StreamRow, delayMs: number, settings: StreamSettings): Parking {
  const { attempts, history } = row
  return { kind: 'head', row, ...parkedFacts(row, settings), attempts, history, delayMs, held: false }
}

// What the handler itself wants dead is dead.
export function isHeld(verdict: Verdict & { kind: 'dead' }, { onExhausted }: StreamSettings): boolean {
  const wished = verdict.attempted && verdict.error === undefined && verdict.reason !== 'max-attempts'
  return onExhausted === 'hold' && !wished
}

/** Where lanes are after a piece. */
export interface Worked {
  /** The lanes that were moved. */
  readonly lanes: bigint
  /** The number of their position; 0 when they are elsewhere. */
  readonly number: string
  readonly at: Position
  /** How many of its messages are accounted for. */
  readonly rows: number
  /** The group is paused: nothing more is to be begun. */
  readonly paused?: boolean
}
