import { HandlerTimeout } from '../errors.ts'
import { type Blocked, type Claimed, claim, claimAlone, claimFlowing } from '../postgres/claim.ts'
import { pauseQueue } from '../postgres/flow.ts'
import { type Query, run, runLast } from '../postgres/queryable.ts'
import { settle } from '../postgres/settle.ts'
import { isAborted, isTransient } from '../rules/error-summary.ts'
import { allowanceOf } from './allowance.ts'
import { Attempt, AttemptCut } from './attempt.ts'
import { Batch, takenOf } from './batch.ts'
import type { BatchSize } from './batch-size.ts'
import { type Ground, lendTransaction } from './context.ts'
import { faultOf, verdictOnError } from './failing.ts'
import type { Floors } from './floors.ts'
import { type Closing, pauseOf } from './gate.ts'
import { type Group, Groups } from './group.ts'
import type { Prepared } from './handlers.ts'
import type { Mode } from './mode.ts'
import type { OwnRows } from './own-rows.ts'
import { Prefetch } from './prefetch.ts'
import { Rollbacks } from './rollbacks.ts'
import { Savepoint } from './savepoint.ts'
import type { Seat } from './seat.ts'
import type { Taken } from './slots.ts'
import { type Judged, RETURNED, settledOf, tell, type Verdict, verdictOf } from './verdict.ts'

/** A transaction that stays open so long keeps vacuum from its work, in the whole database. */
const SLOW_MS = 5_000

/**
 * Exactly-once effects: claim, inbox rows, the handler's effects and the outcome are one transaction.
 *
 *     BEGIN; claim; { savepoint; handler; release } …; settle; COMMIT
 *
 * The claim stands outside the savepoint and the handler inside, so a failed attempt is recorded by the transaction that
 * claimed it, and its neighbours are committed with it. `settle` comes last: in a transaction that a handler's swallowed error
 * has aborted it fails, and never passes for success. What takes the whole transaction down is for `Rollbacks`.
 */
export class ExactlyOnce<Tx> implements Mode {
  readonly #seat: Seat<Tx>
  readonly #floors: Floors
  readonly #size: BatchSize
  readonly #own: OwnRows<Tx>
  readonly #prefetch: Prefetch
  readonly #rollbacks: Rollbacks<Tx>
  #warned = false
  #stopping: boolean

  constructor(seat: Seat<Tx>, { floors, size, own }: { floors: Floors; size: BatchSize; own: OwnRows<Tx> }) {
    this.#seat = seat
    this.#floors = floors
    this.#size = size
    this.#own = own
    this.#prefetch = new Prefetch(() => seat.flow.maxBatchBytes)
    this.#rollbacks = new Rollbacks(seat, { floors, size, own })
    this.#stopping = seat.stopping.aborted
    seat.stopping.addEventListener('abort', () => (this.#stopping = true), { once: true })
  }

  async take(claimed: (taken: Taken) => void): Promise<Taken> {
    const asked = this.#prefetch.fit(this.#size.next)
    const { granted, waitMs, spent } = await allowanceOf(this.#seat, asked)
    if (granted === 0) return { asked, claimed: 0, waitMs }
    const look = this.#floors.next()
    let letGo = () => {}
    const batch = await this.#transact(this.#claim(granted, false, look.positions), (took) => {
      letGo = this.#prefetch.took(took.rows)
      this.#floors.saw(look, took.rows, took.rows.length >= granted)
      claimed(takenOf(took, asked, this.#seat.flow))
    }).finally(() => letGo())
    await spent(batch.rows.length)
    if (batch.leftOut.length > 0) this.#floors.cameBack(batch.leftOut)
    const taken = takenOf(batch, asked, this.#seat.flow)
    const { elapsedMs, attemptsMs, savepoints } = batch
    if (batch.committed) this.#size.took({ ...taken, elapsedMs, attemptsMs, savepoints })
    return taken
  }

  async takeOne(): Promise<number> {
    const { rows } = await this.#transact(this.#claim(1, false))
    return rows.length
  }

  async takeAlone(): Promise<Taken> {
    const { granted, waitMs, spent } = await allowanceOf(this.#seat, 1)
    if (granted === 0) return { asked: 1, claimed: 0, waitMs }
    const batch = await this.#transact(this.#claim(1, true))
    await spent(batch.rows.length)
    return { asked: 1, claimed: batch.rows.length, waitMs: batch.waitMs }
  }

  #claim(limit: number, alone: boolean, floors = this.#floors.positions): Query<Claimed | Blocked> {
    const { context, queue, number, flow } = this.#seat
    const facts = { queue: number, consumer: queue.name, limit, floors }
    if (!flow.plain) return claimFlowing(context.tables, { ...facts, alone })
    return alone ? claimAlone(context.tables, facts) : claim(context.tables, facts)
  }

  async close(): Promise<void> {
    await this.#own.retry()
  }

  async #transact(claims: Query<Claimed | Blocked>, claimed: (batch: Batch) => void = () => {}): Promise<Batch> {
    const { database } = this.#seat.context
    const batch = new Batch()
    try {
      const work = async (tx: Tx) => {
        const queryable = database.queryable(tx)
        batch.took(await run(queryable, claims))
        claimed(batch)
        if (batch.rows.length > 0) await this.#workOff(batch, { tx, queryable, savepoint: new Savepoint(queryable) })
      }
      await database.transaction(work, { beginsWithQuery: true })
      this.#committed(batch)
    } catch (error) {
      await this.#rollbacks.after(batch, error)
    } finally {
      if (batch.closed) this.#seat.gate.release()
      this.#seat.breaker.settled()
    }
    return batch
  }

  async #workOff(batch: Batch, ground: Ground<Tx>): Promise<void> {
    const groups = this.#seat.handlers.batched ? new Groups() : undefined
    for (const row of batch.rows) {
      batch.current = row
      const judged = await this.#judge(batch, row, ground, groups)
      if (judged) await this.#put(batch, [judged], ground)
    }
    if (groups) await this.#workOffGroups(batch, groups, ground)
    batch.savepoints = ground.savepoint.written
    await this.#settle(batch, ground)
  }

  // They come last, and each ends its own savepoint: what it takes back is never a neighbour's.
  async #workOffGroups(batch: Batch, groups: Groups, ground: Ground<Tx>): Promise<void> {
    for (const group of groups) await this.#put(batch, await this.#judgeGroup(batch, group, ground), ground)
  }

  async #put(batch: Batch, judged: readonly Judged[], ground: Ground<Tx>): Promise<void> {
    batch.judged.push(...judged)
    for (const { verdict } of judged) this.#seat.breaker.saw(verdict)
    for (const one of judged) if (closes(one)) await this.#close(one.verdict.closing, ground)
  }

  async #judge(batch: Batch, row: Claimed, ground: Ground<Tx>, groups?: Groups): Promise<Judged | undefined> {
    const { context, handlers, queue } = this.#seat
    const attempt = row.attempts + 1
    if (!this.#mayBegin) return { row, attempt, verdict: RETURNED, durationMs: 0 }
    const preparing = handlers.prepare(row, this.#seat, attempt)
    const prepared = preparing instanceof Promise ? await preparing : preparing
    if ('kind' in prepared) return { row, attempt, verdict: prepared, durationMs: 0 }
    if (prepared.batch) {
      groups?.add({ row, prepared })
      return undefined
    }
    const { messageId } = row
    if (context.events.heard('attempt-started'))
      context.events.emit('attempt-started', { queue: queue.name, messageId, type: prepared.delivery.type, attempt })
    const startedAt = performance.now()
    const verdict = await this.#attempt(batch, row, prepared, ground, groups !== undefined)
    const durationMs = performance.now() - startedAt
    if (durationMs > SLOW_MS) this.#warnOfSlowness()
    return { row, attempt, verdict, durationMs }
  }

  #warnOfSlowness(): void {
    if (this.#warned) return
    this.#warned = true
    const message = `A handler of ${this.#seat.queue.name} took seconds in an open transaction: consume with guarantee "at-least-once" and complete(…)`
    this.#seat.context.events.emit('warning', { code: 'SLOW_HANDLER', message })
  }

  async #judgeGroup(batch: Batch, group: Group, ground: Ground<Tx>): Promise<Judged[]> {
    const { context, queue } = this.#seat
    batch.current = group.rows[0]
    const startedAt = performance.now()
    const begun = this.#mayBegin
    if (begun)
      for (const { id: messageId, type, attempt } of group.deliveries)
        context.events.emit('attempt-started', { queue: queue.name, messageId, type, attempt })
    const verdicts = begun ? await this.#attemptGroup(batch, group, ground) : group.rows.map(() => RETURNED)
    if (verdicts === 'one by one') return await this.#judgeSingles(batch, group, ground)
    const elapsedMs = performance.now() - startedAt
    if (elapsedMs > SLOW_MS) this.#warnOfSlowness()
    const durationMs = elapsedMs / group.rows.length
    return group.rows.map((row, n) => ({ row, attempt: row.attempts + 1, verdict: verdicts[n]!, durationMs }))
  }

  async #judgeSingles(batch: Batch, group: Group, ground: Ground<Tx>): Promise<Judged[]> {
    const judged: Judged[] = []
    for (const single of group.singles) judged.push(...(await this.#judgeGroup(batch, single, ground)))
    return judged
  }

  async #attemptGroup(batch: Batch, group: Group, ground: Ground<Tx>): Promise<Verdict[] | 'one by one'> {
    const { queue, timeoutMs, attempts } = this.#seat
    const attempt = new Attempt(timeoutMs, () => new HandlerTimeout(queue.name, timeoutMs))
    const { context, revoke } = lendTransaction(this.#seat, attempt, group.cause, ground)
    attempts.add(attempt)
    try {
      const outcomes = group.outcomes(await attempt.run(() => group.call(context)))
      revoke()
      const verdicts = outcomes.map((outcome, n) => verdictOf(outcome, group.rows[n]!.attempts + 1, queue.retry))
      if (verdicts.every(leavesNothing)) await ground.savepoint.undo()
      else await ground.savepoint.keep()
      return verdicts
    } catch (error) {
      revoke()
      if (group.rows.length === 1) return [await this.#failed(batch, group.rows, attempt, error, ground)]
      const verdict = await this.#failed(batch, group.rows, attempt, error, ground)
      return verdict === RETURNED ? group.rows.map(() => RETURNED) : 'one by one'
    } finally {
      attempts.delete(attempt)
    }
  }

  async #attempt(
    batch: Batch,
    row: Claimed,
    prepared: Prepared,
    ground: Ground<Tx>,
    grouped: boolean,
  ): Promise<Verdict> {
    const { queue, timeoutMs, attempts } = this.#seat
    const { handler, delivery } = prepared
    const attempt = new Attempt(timeoutMs, () => new HandlerTimeout(queue.name, timeoutMs))
    attempt.messageId = delivery.id
    const { context, revoke } = lendTransaction(this.#seat, attempt, delivery, ground)
    attempts.add(attempt)
    try {
      const running = attempt.run(() => handler(delivery, context))
      const outcome = prepared.settle(running instanceof Promise ? await running : running)
      revoke()
      const verdict = verdictOf(outcome, delivery.attempt, queue.retry)
      if (ground.savepoint.touched) await keep(verdict, ground.savepoint, row === batch.last && !grouped)
      return verdict
    } catch (error) {
      revoke()
      return await this.#failed(batch, [row], attempt, error, ground)
    } finally {
      attempts.delete(attempt)
    }
  }

  async #failed(
    batch: Batch,
    rows: readonly Claimed[],
    { cutBy }: Attempt,
    error: unknown,
    { tx, savepoint }: Ground<Tx>,
  ): Promise<Verdict> {
    if (error instanceof AttemptCut) {
      batch.cut = { rows, reason: error.reason, abandoned: this.#seat.context.database.abandon(tx) }
      throw error
    }
    if (savepoint.touched && isTransient(error)) throw error
    await savepoint.undo()
    if (cutBy && !(cutBy instanceof HandlerTimeout)) return RETURNED
    return this.#charged(rows[0]!, cutBy ?? error)
  }

  get #mayBegin(): boolean {
    return !this.#stopping && this.#seat.gate.passable
  }

  // With the transaction that gives the delivery back, so that nobody takes it before the queue is closed.
  async #close(closing: Closing, { queryable }: Ground<Tx>): Promise<void> {
    const { context, gate, number } = this.#seat
    gate.hold()
    await run(queryable, pauseQueue(context.tables, pauseOf(number, closing, context.instance)))
  }

  // The last attempt leaves its savepoint to us: an abort that it swallowed shows here, and is still its own fault alone.
  async #settle(batch: Batch, { queryable, savepoint }: Ground<Tx>): Promise<void> {
    try {
      await runLast(queryable, this.#settlement(batch))
    } catch (error) {
      if (!savepoint.touched || !isAborted(error)) throw error
      await savepoint.undo()
      const judged = batch.judged.at(-1)!
      batch.blame(judged, this.#charged(judged.row, error))
      await runLast(queryable, this.#settlement(batch))
    }
  }

  #settlement({ judged }: Batch) {
    const { context, queue, number } = this.#seat
    return settle(context.tables, { queue: number, consumer: queue.name, outcomes: judged.map(settledOf) })
  }

  #charged(row: Claimed, error: unknown): Verdict {
    return verdictOnError(this.#seat, row, row.attempts + 1, faultOf(error, this.#seat.queue.name))
  }

  #committed(batch: Batch): void {
    const { context, queue } = this.#seat
    batch.committed = true
    for (const judged of batch.judged) {
      const { verdict, row } = judged
      this.#rollbacks.forget(row)
      if (verdict.kind === 'retry' || verdict.kind === 'returned') this.#seat.scheduled(verdict.delayMs)
      tell(context.events, queue.name, judged)
    }
  }
}

function leavesNothing({ kind }: Verdict): boolean {
  return kind === 'retry' || kind === 'dead' || kind === 'returned'
}

type Closes = Judged & { readonly verdict: { readonly kind: 'returned'; readonly closing: Closing } }

function closes(judged: Judged): judged is Closes {
  return judged.verdict.kind === 'returned' && judged.verdict.closing !== undefined
}

/** What the handler itself wants retried or dead-lettered leaves as little behind as what failed. */
async function keep(verdict: Verdict, savepoint: Savepoint, last: boolean): Promise<void> {
  if (leavesNothing(verdict)) await savepoint.undo()
  else if (!last) await savepoint.keep()
}
