import { setTimeout as sleep } from 'node:timers/promises'
import { faultOf } from '../consumer/failing.ts'
import { report } from '../consumer/seat.ts'
import { HandlerTimeout } from '../errors.ts'
import { forgetAll, noteAll } from '../postgres/inbox.ts'
import { type Queryable, run, runLast } from '../postgres/queryable.ts'
import {
  holdLanes,
  holdParked,
  noteLanes,
  type ParkedRow,
  type Position,
  passLanes,
  pauseGroup,
  type StreamRow,
  settleLanes,
  settleParked,
  takeParked,
} from '../postgres/streams.ts'
import { hasCode, isConnectionLoss, isTransient, summarise } from '../rules/error-summary.ts'
import { hasLane } from '../rules/lane.ts'
import { Account, type Worked } from './account.ts'
import type { Piece, Strand } from './cohort.ts'
import { type StreamMode, TICK_FORGOTTEN } from './mode.ts'
import { ParkedAccount } from './parked-account.ts'
import { Cut, Round, type RoundOptions, Spoilt } from './round.ts'
import type { StreamSeat } from './seat.ts'

const REPEAT_MS = 10
const MOST_PARKED = 50

const NONE: ReadonlySet<string> = new Set()

/** How a piece is tried once more. */
interface Way {
  careful: boolean
  /** So many of its messages. */
  rows: number
  tries: number
  readonly blamed: Map<string, unknown>
  cut?: Cut | undefined
}

/**
 * Exactly-once effects: what the handlers write, the position of their lanes and what is put aside are one transaction.
 *
 *     BEGIN; hold the lanes; the handlers; settle: position and parked keys; COMMIT
 *
 * The transaction holds its lanes only when they are where it believes; whoever was overtaken holds nothing. All messages share it
 * without a savepoint. When one fails, everything is taken back and done again with care, a savepoint for each message.
 */
export class StreamExactlyOnce<Tx> implements StreamMode {
  readonly #seat: StreamSeat<Tx>

  constructor(seat: StreamSeat<Tx>) {
    this.#seat = seat
  }

  async work(strand: Strand, piece: Piece): Promise<Worked> {
    const way: Way = { careful: false, rows: piece.rows.length, tries: 0, blamed: new Map() }
    return await this.#insistently(way, piece.rows, () => this.#transact(strand, piece, way))
  }

  async pass(strands: readonly Strand[], at: Position): Promise<{ lanes: bigint; number: string }> {
    const { context, group } = this.#seat
    const sets = strands.map(({ lanes, number }) => ({ lanes, number }))
    const facts = { group, sets, at, replay: strands[0]!.replay }
    const [passed] = await run(context.database, passLanes(context.tables, facts))
    return { lanes: passed!.held, number: passed!.number }
  }

  async workParked(key: string): Promise<boolean> {
    const way: Way = { careful: true, rows: MOST_PARKED, tries: 0, blamed: new Map() }
    return await this.#insistently(way, [], () => this.#transactParked(key, way))
  }

  async #insistently<Result>(way: Way, rows: readonly StreamRow[], work: () => Promise<Result>): Promise<Result> {
    for (; ; way.tries += 1) {
      try {
        return await work()
      } catch (error) {
        const { cut } = way
        way.cut = undefined
        await this.#mend(way, rows, cut ?? error)
      }
    }
  }

  // What to do otherwise the next time; throws when the database is out of order, or the reader stops.
  async #mend(way: Way, rows: readonly StreamRow[], error: unknown): Promise<void> {
    const { context, stopping } = this.#seat
    if (error instanceof Cut) {
      await error.abandoned.catch((fault) => report(this.#seat, fault))
      if (!(error.reason instanceof HandlerTimeout)) throw error
      if (error.rows.length === 1) way.blamed.set(error.rows[0]!.messageId, error.reason)
      way.careful = true
    } else if (error instanceof Spoilt) {
      way.careful = true
    } else if (isTransient(error)) {
      if (stopping.aborted) throw error
      const [first] = rows
      if (first && context.events.heard('attempt-repeated'))
        context.events.emit('attempt-repeated', {
          queue: this.#seat.queue.name,
          group: this.#seat.groupName,
          messageId: first.messageId,
          type: first.body?.type ?? '',
          attempt: 1,
          error: summarise(error),
        })
      way.rows = Math.max(1, way.rows >> 1)
      await sleep(Math.random() * REPEAT_MS * 2 ** Math.min(way.tries, 7))
    } else if (isOutage(error) || hasCode(error, TICK_FORGOTTEN)) {
      throw error
    } else if (!way.careful) {
      way.careful = true
    } else if (way.rows > 1 && rows.length > 1) {
      way.rows = 1
    } else if (rows[0] && !way.blamed.has(rows[0].messageId)) {
      way.blamed.set(rows[0].messageId, faultOf(error, this.#seat.queue.name))
    } else throw error
  }

  async #transact(strand: Strand, piece: Piece, way: Way): Promise<Worked> {
    const { context, stopping } = this.#seat
    const rows = piece.rows.slice(0, way.rows)
    if (stopping.aborted) return { lanes: strand.lanes, number: strand.number, at: strand.at, rows: 0 }
    const work = async (tx: Tx) => {
      const queryable = context.database.queryable(tx)
      const hold = await this.#hold(queryable, strand)
      const parked = hold.parks ? await this.#parkedAmong(queryable, rows) : []
      const account = new Account(this.#seat, parked)
      if (hold.held === 0n || hold.paused) {
        const at = strand.at
        return { account, worked: { lanes: hold.held, number: strand.number, at, rows: 0, paused: hold.paused } }
      }
      const mine = hold.held === strand.lanes ? rows : rows.filter(({ lane }) => hasLane(hold.held, lane))
      const known = await this.#note(queryable, mine)
      const round = new Round(this.#seat, this.#roundOptions(tx, queryable, way, known))
      await round.judge(
        mine,
        (row) => account.waits(row),
        (row, judged) => {
          account.enter(row, judged)
          return !account.stopped
        },
      )
      const whole = way.rows >= piece.rows.length && !account.stopped
      const at = whole ? piece.end : positionAfter(strand, piece, rows, account)
      const { touched } = round
      const settled = { strand, piece, account, held: hold.held, at, rows, touched }
      return { account, worked: await this.#settle(queryable, settled) }
    }
    const { account, worked } = await context.database.transaction(work, { beginsWithQuery: true })
    account.tell(context.events)
    return worked
  }

  #roundOptions(tx: Tx, queryable: Queryable, way: Way, known: ReadonlySet<string>): RoundOptions<Tx> {
    return {
      tx,
      queryable,
      careful: way.careful,
      blamed: way.blamed,
      known,
      cut: (cut) => {
        way.cut = cut
      },
    }
  }

  async #hold(queryable: Queryable, { lanes, number }: Strand) {
    const { context, group } = this.#seat
    return (await run(queryable, holdLanes(context.tables, { group, lanes, number })))[0]!
  }

  async #parkedAmong(queryable: Queryable, rows: readonly StreamRow[]): Promise<readonly string[]> {
    const { context, group, settings } = this.#seat
    const keys = settings.headOfLine === 'park-key' ? keysOf(rows) : []
    if (keys.length === 0) return []
    return (await run(queryable, holdParked(context.tables, group, keys)))[0]!.parked
  }

  async #note(queryable: Queryable, rows: readonly StreamRow[]): Promise<ReadonlySet<string>> {
    const { context, guarded, consumer } = this.#seat
    if (!guarded || rows.length === 0) return NONE
    const ids = rows.map(({ messageId }) => messageId)
    const known = await run(queryable, noteAll(context.tables, { consumer, ids }))
    return new Set(known.map(({ id }) => id))
  }

  async #settle(
    queryable: Queryable,
    {
      strand,
      piece,
      account,
      held,
      at,
      rows,
      touched,
    }: {
      strand: Strand
      piece: Piece
      account: Account
      held: bigint
      at: Position
      rows: readonly StreamRow[]
      touched: boolean
    },
  ): Promise<Worked> {
    const { context, group, guarded, consumer } = this.#seat
    const { tables } = context
    const handled = accountedOf(rows, account)
    if (guarded) {
      const undone = rows.slice(handled).map(({ messageId }) => messageId)
      const ids = [...account.unprocessed, ...undone]
      if (ids.length > 0) await run(queryable, forgetAll(tables, { consumer, ids }))
    }
    if (account.closing) await run(queryable, pauseGroup(tables, { group, ...account.closing, by: context.instance }))
    const { replay } = strand
    if (!touched && !guarded && account.writesNothing) {
      const [noted] = await runLast(queryable, noteLanes(tables, { group, replay, lanes: held, at }))
      return { lanes: held, number: noted!.number, at, rows: handled }
    }
    let lanes = held
    for (const lane of account.closed.keys()) lanes &= ~(1n << BigInt(lane))
    const settlement = settleLanes(tables, { group, replay, parking: account.parking, lanes, at })
    const ask = account.closed.size === 0 ? runLast : run
    const [{ number } = { number: '0' }] = await ask(queryable, settlement)
    for (const [lane, row] of account.closed) {
      const closed = { group, replay, parking: [], lanes: 1n << BigInt(lane), at: piece.after(row) }
      await run(queryable, settleLanes(tables, closed))
    }
    return { lanes, number, at, rows: handled, paused: account.closing !== undefined }
  }

  async #transactParked(key: string, way: Way): Promise<boolean> {
    const { context, group, consumer, guarded } = this.#seat
    const facts = { group, key, limit: Math.max(1, way.rows), leaseMs: null }
    const account = await context.database.transaction(async (tx) => {
      const queryable = context.database.queryable(tx)
      const rows: ParkedRow[] = await run(queryable, takeParked(context.tables, facts))
      if (rows.length === 0) return undefined
      const known = await this.#note(queryable, rows)
      const parked = new ParkedAccount(this.#seat)
      const round = new Round(this.#seat, this.#roundOptions(tx, queryable, way, known))
      await round.judge(
        rows,
        () => false,
        (row, judged) => parked.enter(row as ParkedRow, judged),
      )
      if (guarded) {
        const ids = rows.filter((row) => !parked.done.includes(row.number)).map(({ messageId }) => messageId)
        if (ids.length > 0) await run(queryable, forgetAll(context.tables, { consumer, ids }))
      }
      await run(queryable, settleParked(context.tables, { group, key, dueAt: null, ...parked.settled(rows) }))
      return parked
    })
    account?.tell(context.events)
    return account !== undefined
  }
}

/** How far it came that was broken off. */
function positionAfter(strand: Strand, piece: Piece, rows: readonly StreamRow[], account: Account): Position {
  if (!account.stopped) return rows.length > 0 ? piece.after(rows.at(-1)!) : strand.at
  return account.last ? piece.after(account.last) : strand.at
}

function accountedOf(rows: readonly StreamRow[], account: Account): number {
  if (!account.stopped) return rows.length
  return account.last ? rows.indexOf(account.last) + 1 : 0
}

export function keysOf(rows: readonly StreamRow[]): string[] {
  const keys = new Set<string>()
  for (const { body } of rows) if (body?.key != null) keys.add(body.key)
  return [...keys]
}

/** Nothing that a message could have done: the connection, the server, or its resources. */
export function isOutage(error: unknown): boolean {
  if (isConnectionLoss(error) || hasCode(error, 'COMMIT_UNKNOWN') || hasCode(error, 'STATEMENT_TIMED_OUT')) return true
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' && /^(53...|58...|XX...|25006)$/.test(code)
}
