import {
  type Chunk,
  type Position,
  type ReplayWindow,
  type StreamRow,
  samePosition,
  WHOLE,
} from '../postgres/streams.ts'
import { ALL_LANES, hasLane } from '../rules/lane.ts'

/** Messages of one look at the log, for one strand. */
interface Segment {
  readonly base: string
  readonly tick: string
  /** Those that are not done with. */
  rows: readonly StreamRow[]
  end: Position
}

/** What a strand works off next, and where its lanes are when that is done. */
export interface Piece {
  readonly rows: readonly StreamRow[]
  /** After the last of them. */
  readonly end: Position
  /** Just after one of them. */
  after(row: StreamRow): Position
}

/** Some lanes of a process that are at one position: their messages are worked off one after the other. */
export class Strand {
  lanes: bigint
  /** The number of the position they are at. */
  number: string
  at: Position
  readonly replay: number | null
  /** As far as has been read for it. */
  end: Position
  busy = false
  /** When the work under way began. */
  busySince = 0
  /** Lanes that somebody else is to have, as soon as the strand rests. */
  shed = 0n
  #segments: Segment[] = []
  #buffered = 0

  constructor(lanes: bigint, number: string, at: Position, replay: number | null) {
    this.lanes = lanes
    this.number = number
    this.at = at
    this.end = at
    this.replay = replay
  }

  get buffered(): number {
    return this.#buffered
  }

  /** It has done what was read for it, and its lanes may be moved on to there. */
  get idle(): boolean {
    return !this.busy && this.#buffered === 0
  }

  feed({ base, tick }: Position, rows: readonly StreamRow[], end: Position): void {
    this.end = end
    if (rows.length > 0) this.#segments.push({ base, tick, rows, end })
    else if (this.#segments.length > 0) this.#segments.at(-1)!.end = end
    this.#buffered += rows.length
  }

  /** The next messages, as many as may share a transaction, whatever looks they came by. They stay until `passed`. */
  next(most: number): Piece {
    const rows: StreamRow[] = []
    const parts: { readonly from: number; readonly segment: Segment }[] = []
    for (const segment of this.#segments) {
      if (rows.length >= most) break
      parts.push({ from: rows.length, segment })
      const until = Math.min(segment.rows.length, most - rows.length)
      for (let n = 0; n < until; n += 1) rows.push(segment.rows[n]!)
    }
    const after = (row: StreamRow) => {
      const place = rows.indexOf(row)
      const { base, tick } = parts.findLast(({ from }) => from <= place)!.segment
      return { base, tick, id: row.message }
    }
    const { from, segment } = parts.at(-1)!
    const last = rows.length - from === segment.rows.length
    return { rows, after, end: last ? segment.end : after(rows.at(-1)!) }
  }

  /** So many of them are done with, and let go of; those that are left belong to the lanes that are left. */
  passed(rows: number): void {
    this.#buffered -= rows
    for (let left = rows; left > 0; ) {
      const segment = this.#segments[0]!
      const some = Math.min(left, segment.rows.length)
      left -= some
      if (some === segment.rows.length) this.#segments.shift()
      else segment.rows = segment.rows.slice(some)
    }
  }

  drop(lanes: bigint): void {
    this.lanes &= ~lanes
    this.shed &= ~lanes
    if (lanes === 0n || this.#buffered === 0) return
    const kept: Segment[] = []
    for (const { base, tick, rows, end } of this.#segments) {
      const mine = rows.filter(({ lane }) => hasLane(this.lanes, lane))
      if (mine.length > 0) kept.push({ base, tick, rows: mine, end })
      else if (kept.length > 0) kept.at(-1)!.end = end
    }
    this.#segments = kept
    this.#buffered = kept.reduce((sum, { rows }) => sum + rows.length, 0)
  }
}

/** A part of the log that is read again: no further than its end, and only what was published in its window. */
export interface Replaying extends ReplayWindow {
  readonly id: number
}

/** Strands that are read for together: one look at the log for all their lanes. */
export class Cohort {
  cursor: Position
  readonly strands: Strand[]
  readonly replay: Replaying | undefined
  reading = false
  /** Nothing was there at the last look. */
  drained = false
  /** Before this there is no look, so that the next one brings more. */
  restUntil = Number.NEGATIVE_INFINITY
  /** How long the last piece of work took. */
  workMs = 0
  /** How many characters and bytes a message has had of late, on the average; large, as long as nobody knows. */
  messageSize = 33_000

  constructor(cursor: Position, strands: readonly Strand[], replay: Replaying | undefined) {
    this.cursor = cursor
    this.strands = [...strands]
    this.replay = replay
  }

  get lanes(): bigint {
    return this.strands.reduce((lanes, strand) => lanes | strand.lanes, 0n)
  }

  get buffered(): number {
    return this.strands.reduce((sum, { buffered }) => sum + buffered, 0)
  }

  /** How many rows the next look may take, so that what it brings is not too much to hold. */
  rowsFor(bytes: number, most: number): number {
    return Math.max(1, Math.min(most, Math.floor(bytes / this.messageSize)))
  }

  feed({ rows, end }: Chunk): void {
    if (rows.length > 0) this.messageSize = Math.max(1_000, sizeOf(rows) / rows.length)
    for (const [strand, mine] of this.#dealt(rows)) strand.feed(end, mine, end)
    this.drained = samePosition(this.cursor, end)
    this.cursor = end
  }

  #dealt(rows: readonly StreamRow[]): Iterable<[Strand, readonly StreamRow[]]> {
    if (this.strands.length === 1 && this.strands[0]!.lanes === ALL_LANES) return [[this.strands[0]!, rows]]
    const dealt = new Map<Strand, StreamRow[]>(this.strands.map((strand) => [strand, []]))
    const owners: (StreamRow[] | undefined)[] = Array.from({ length: 64 }, (_, lane) => {
      const owner = this.strands.find(({ lanes }) => hasLane(lanes, lane))
      return owner && dealt.get(owner)
    })
    for (const row of rows) owners[row.lane]?.push(row)
    return dealt
  }

  /** Takes over the strands of one that has come to the same position. */
  absorb(other: Cohort): boolean {
    if (this.reading || other.reading || this.replay?.id !== other.replay?.id) return false
    if (!samePosition(this.cursor, other.cursor)) return false
    this.strands.push(...other.strands)
    return true
  }

  /** It has yet to read what the other has read. A replay goes its own way. */
  isBehind(other: Cohort): boolean {
    return !this.replay && !other.replay && isBefore(this.cursor, other.cursor)
  }

  /** Some work of it that began before a time is still under way. */
  isHeldUp(since: number): boolean {
    return this.strands.some(({ busy, busySince }) => busy && busySince < since)
  }

  /**
   * How far it may read so that it meets one that is ahead of it, where the two become one; undefined for as far as there is
   * anything.
   */
  stop(others: Iterable<Cohort>): { readonly tick: string; readonly id?: string } | undefined {
    if (this.replay) return { tick: this.replay.tick, ...(this.replay.lastId !== WHOLE && { id: this.replay.lastId }) }
    const next = [...others]
      .filter((other) => this.isBehind(other))
      .sort((a, b) => (isBefore(a.cursor, b.cursor) ? -1 : 1))[0]
    if (!next) return undefined
    const base = this.cursor.id === WHOLE ? this.cursor.tick : this.cursor.base
    const meets = next.cursor.id !== WHOLE && next.cursor.base === base
    return meets ? { tick: next.cursor.tick, id: next.cursor.id } : { tick: next.cursor.tick }
  }
}

/** How many characters and bytes messages carry. */
export function sizeOf(rows: readonly StreamRow[]): number {
  let sum = 0
  for (const { size } of rows) sum += size
  return sum
}

function isBefore(a: Position, b: Position): boolean {
  if (a.tick !== b.tick) return BigInt(a.tick) < BigInt(b.tick)
  return BigInt(a.id) < BigInt(b.id)
}
