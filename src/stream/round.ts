import { Attempt, AttemptCut, isThenable } from '../consumer/attempt.ts'
import { type Lent, lendTransaction } from '../consumer/context.ts'
import { faultOf, verdictOnError } from '../consumer/failing.ts'
import { Group, type Member } from '../consumer/group.ts'
import type { Prepared } from '../consumer/handlers.ts'
import { Savepoint } from '../consumer/savepoint.ts'
import { mayBegin } from '../consumer/seat.ts'
import { DUPLICATE, type Judged, RETURNED, type Verdict, verdictOf } from '../consumer/verdict.ts'
import { HandlerTimeout } from '../errors.ts'
import type { Queryable } from '../postgres/queryable.ts'
import type { StreamRow } from '../postgres/streams.ts'
import { isTransient } from '../rules/error-summary.ts'
import type { StreamSeat } from './seat.ts'

/** A message failed that had written something: the transaction is to be taken back, and its messages worked off with care. */
export class Spoilt extends Error {}

/** A handler that did not end took the transaction with it, and when the server has let go of that. */
export class Cut extends Error {
  readonly rows: readonly StreamRow[]
  readonly reason: Error
  readonly abandoned: Promise<void>

  constructor(rows: readonly StreamRow[], reason: Error, abandoned: Promise<void>) {
    super(reason.message)
    this.rows = rows
    this.reason = reason
    this.abandoned = abandoned
  }
}

/** Knows whether a handler reached for its transaction, and sets nothing. */
class Touch {
  touched = false

  set(): void {
    this.touched = true
  }
}

export interface RoundOptions<Tx> {
  readonly tx: Tx
  readonly queryable: Queryable
  /** A savepoint for each message, so that one that fails takes nobody with it. */
  readonly careful: boolean
  /** What messages have failed with in an earlier transaction. */
  readonly blamed: ReadonlyMap<string, unknown>
  /** Ids that were processed before. */
  readonly known: ReadonlySet<string>
  /** A handler took the transaction with it: what the transaction itself rejects with says less. */
  cut(cut: Cut): void
}

type Verdicts = Verdict[] | Promise<Verdict[]>

interface UnderWay {
  readonly rows: readonly StreamRow[]
  readonly attempt: Attempt
  readonly savepoint: Savepoint | Touch
  readonly lent: Lent<unknown>
}

/**
 * The handlers of one transaction, one after the other. Without care all share it: no statement is ours between two messages, and
 * one that fails spoils it. With care each has a savepoint.
 */
export class Round<Tx> {
  readonly #seat: StreamSeat<Tx>
  readonly #options: RoundOptions<Tx>
  readonly #savepoint: Savepoint | undefined
  readonly #timedOut: () => HandlerTimeout
  #touched = false

  constructor(seat: StreamSeat<Tx>, options: RoundOptions<Tx>) {
    this.#seat = seat
    this.#options = options
    this.#savepoint = options.careful ? new Savepoint(options.queryable) : undefined
    const { queue, timeoutMs } = seat
    this.#timedOut = () => new HandlerTimeout(queue.name, timeoutMs)
  }

  /** Whether a handler has reached for the transaction. */
  get touched(): boolean {
    return this.#touched
  }

  /** Judges messages in their order until one says stop; those that wait are passed over. */
  async judge(
    rows: readonly StreamRow[],
    waits: (row: StreamRow) => boolean,
    enter: (row: StreamRow, judged: Judged) => boolean,
  ): Promise<void> {
    let members: Member[] = []
    const flush = async () => {
      const group = members
      members = []
      return group.length === 0 || (await this.#judgeGroup(group, enter))
    }
    for (const row of rows) {
      const preparing = this.#prepared(row)
      const prepared = preparing instanceof Promise ? await preparing : preparing
      const joins = 'handler' in prepared && prepared.batch && !this.#options.careful
      if (!joins || (members[0] && members[0].prepared.handler !== prepared.handler)) {
        if (!(await flush())) return
      }
      if (waits(row)) continue
      if (joins) {
        members.push({ row, prepared })
        continue
      }
      const judging = this.#judged(row, prepared)
      if (!enter(row, judging instanceof Promise ? await judging : judging)) return
    }
    await flush()
  }

  #prepared(row: StreamRow): Prepared | Verdict | Promise<Prepared | Verdict> {
    const { blamed, known } = this.#options
    if (known.has(row.messageId)) return DUPLICATE
    if (blamed.has(row.messageId)) return verdictOnError(this.#seat, row, row.attempts + 1, blamed.get(row.messageId))
    return this.#seat.handlers.prepare(row, this.#seat, row.attempts + 1)
  }

  // Synchronous if the handler is, and what it says of its delivery: then a message costs no promise.
  #judged(row: StreamRow, prepared: Prepared | Verdict): Judged | Promise<Judged> {
    const attempt = row.attempts + 1
    if (!mayBegin(this.#seat)) return { row, attempt, verdict: RETURNED, durationMs: 0 }
    if ('kind' in prepared) return { row, attempt, verdict: prepared, durationMs: 0 }
    this.#tellStarted(row, prepared)
    const startedAt = performance.now()
    const judged = ([verdict]: readonly Verdict[]): Judged => {
      return { row, attempt, verdict: verdict!, durationMs: performance.now() - startedAt }
    }
    const verdicts = prepared.batch ? this.#attemptGroup([{ row, prepared }]) : this.#attempt(row, prepared)
    return verdicts instanceof Promise ? verdicts.then(judged) : judged(verdicts)
  }

  async #judgeGroup(members: readonly Member[], enter: (row: StreamRow, judged: Judged) => boolean): Promise<boolean> {
    const startedAt = performance.now()
    for (const { row, prepared } of members) this.#tellStarted(row as StreamRow, prepared)
    const verdicts = mayBegin(this.#seat) ? await this.#attemptGroup(members) : members.map(() => RETURNED)
    const durationMs = (performance.now() - startedAt) / members.length
    return members.every(({ row }, n) =>
      enter(row as StreamRow, { row, attempt: row.attempts + 1, verdict: verdicts[n]!, durationMs }),
    )
  }

  #attempt(row: StreamRow, { handler, delivery, settle }: Prepared): Verdicts {
    const { retry } = this.#seat.queue
    const meant = (answer: unknown) => [verdictOf(settle(answer), delivery.attempt, retry)]
    return this.#inAttempt([row], delivery, (context) => handler(delivery, context), meant)
  }

  #attemptGroup(members: readonly Member[]): Verdicts {
    const { retry } = this.#seat.queue
    const group = new Group(members)
    const rows = group.rows as readonly StreamRow[]
    const meant = (answer: unknown) =>
      group.outcomes(answer).map((outcome, n) => verdictOf(outcome, rows[n]!.attempts + 1, retry))
    return this.#inAttempt(rows, group.cause, (context) => group.call(context), meant)
  }

  #inAttempt(
    rows: readonly StreamRow[],
    cause: Parameters<typeof lendTransaction>[2],
    call: (context: unknown) => unknown,
    meant: (answer: unknown) => Verdict[],
  ): Verdicts {
    const { timeoutMs, attempts } = this.#seat
    const { tx, queryable } = this.#options
    const attempt = new Attempt(timeoutMs, this.#timedOut)
    const savepoint = this.#savepoint ?? new Touch()
    const lent = lendTransaction(this.#seat, attempt, cause, { tx, queryable, savepoint })
    attempts.add(attempt)
    const under: UnderWay = { rows, attempt, savepoint, lent }
    try {
      const verdicts = attempt.run(() => {
        const answer = call(lent.context)
        return isThenable(answer) ? Promise.resolve(answer).then(meant) : meant(answer)
      })
      if (verdicts instanceof Promise || savepoint.touched) return this.#ended(under, verdicts)
      // nothing was begun that goes on, and nothing written
      lent.revoke()
      attempts.delete(attempt)
      return verdicts
    } catch (error) {
      return this.#ended(under, Promise.reject(error))
    }
  }

  async #ended({ rows, attempt, savepoint, lent }: UnderWay, running: Verdicts): Promise<Verdict[]> {
    try {
      const verdicts = await running
      lent.revoke()
      await this.#kept(verdicts, savepoint)
      return verdicts
    } catch (error) {
      lent.revoke()
      return await this.#failed(rows, attempt, savepoint, error)
    } finally {
      this.#touched ||= savepoint.touched
      this.#seat.attempts.delete(attempt)
    }
  }

  // What the handler itself wants retried or dead-lettered leaves as little behind as what failed.
  async #kept(verdicts: readonly Verdict[], savepoint: Savepoint | Touch): Promise<void> {
    const nothing = verdicts.every(({ kind }) => kind === 'retry' || kind === 'dead' || kind === 'returned')
    if (savepoint instanceof Touch) {
      if (nothing && savepoint.touched) throw new Spoilt()
    } else if (nothing) await savepoint.undo()
    else await savepoint.keep()
  }

  async #failed(
    rows: readonly StreamRow[],
    { cutBy }: Attempt,
    savepoint: Savepoint | Touch,
    error: unknown,
  ): Promise<Verdict[]> {
    const { database } = this.#seat.context
    if (error instanceof AttemptCut) {
      const cut = new Cut(rows, error.reason, database.abandon(this.#options.tx))
      this.#options.cut(cut)
      throw cut
    }
    if (error instanceof Spoilt || (savepoint.touched && isTransient(error))) throw error
    if (savepoint instanceof Touch) {
      if (savepoint.touched || rows.length > 1) throw new Spoilt()
    } else await savepoint.undo()
    if (cutBy && !(cutBy instanceof HandlerTimeout)) return rows.map(() => RETURNED)
    const fault = cutBy ?? faultOf(error, this.#seat.queue.name)
    return rows.map((row) => verdictOnError(this.#seat, row, row.attempts + 1, fault))
  }

  #tellStarted(row: StreamRow, { delivery }: Prepared): void {
    const { context, queue, groupName } = this.#seat
    if (!context.events.heard('attempt-started')) return
    const { messageId } = row
    const told = { queue: queue.name, group: groupName, messageId, type: delivery.type, attempt: delivery.attempt }
    context.events.emit('attempt-started', told)
  }
}
