import { HandlerTimeout, Stopped } from '../errors.ts'
import { type Blocked, type Claimed, claim, claimAlone, claimFlowing } from '../postgres/claim.ts'
import { pauseQueue } from '../postgres/flow.ts'
import { type Query, run } from '../postgres/queryable.ts'
import { settle } from '../postgres/settle.ts'
import { summarise } from '../rules/error-summary.ts'
import { allowanceOf } from './allowance.ts'
import { Attempt } from './attempt.ts'
import { Batch, takenOf } from './batch.ts'
import type { BatchSize } from './batch-size.ts'
import type { AtMostOnceContext } from './context.ts'
import type { Floors } from './floors.ts'
import { type Closing, pauseOf } from './gate.ts'
import { Group, Groups } from './group.ts'
import type { Prepared } from './handlers.ts'
import type { Mode } from './mode.ts'
import { REPLY, type ReplyContext } from './replying.ts'
import { mayBegin, type Seat } from './seat.ts'
import type { Taken } from './slots.ts'
import { COMPLETED, type Judged, RETURNED, settledOf, tell } from './verdict.ts'

/** A delivery whose end is committed, and who is to be told of the message. */
interface Ended {
  readonly judged: Judged
  readonly prepared: Prepared | undefined
}

/**
 * At most once: the delivery ends when it is claimed, and only then is the handler called. What happens to a handler, or to its
 * process, happens to nobody else: there is no second attempt, and a failure is told by an event alone.
 */
export class AtMostOnce<Tx> implements Mode {
  readonly #seat: Seat<Tx>
  readonly #floors: Floors
  readonly #size: BatchSize

  constructor(seat: Seat<Tx>, { floors, size }: { floors: Floors; size: BatchSize }) {
    this.#seat = seat
    this.#floors = floors
    this.#size = size
  }

  async take(claimed: (taken: Taken) => void): Promise<Taken> {
    const asked = this.#size.next
    const startedAt = performance.now()
    const { flow } = this.#seat
    const { granted, waitMs, spent } = await allowanceOf(this.#seat, asked)
    if (granted === 0) return { asked, claimed: 0, waitMs }
    const look = this.#floors.next()
    const { batch, ended } = await this.#end(this.#claim(granted, false, look.positions))
    await spent(ended.length)
    this.#floors.saw(look, batch.rows, batch.rows.length >= granted)
    if (batch.leftOut.length > 0) this.#floors.cameBack(batch.leftOut)
    const taken = takenOf(batch, asked, flow)
    claimed(taken)
    const attemptsMs = await this.#tellAll(ended)
    this.#size.took({ ...taken, elapsedMs: performance.now() - startedAt, attemptsMs })
    return taken
  }

  async takeOne(): Promise<number> {
    const { ended } = await this.#end(this.#claim(1, false))
    await this.#tellAll(ended)
    return ended.length
  }

  async takeAlone(): Promise<Taken> {
    const { granted, waitMs, spent } = await allowanceOf(this.#seat, 1)
    if (granted === 0) return { asked: 1, claimed: 0, waitMs }
    const { batch, ended } = await this.#end(this.#claim(1, true))
    await spent(ended.length)
    await this.#tellAll(ended)
    return { asked: 1, claimed: ended.length, waitMs: batch.waitMs }
  }

  #claim(limit: number, alone: boolean, floors = this.#floors.positions): Query<Claimed | Blocked> {
    const { context, queue, number, flow } = this.#seat
    const facts = { queue: number, consumer: queue.name, limit, floors }
    if (!flow.plain) return claimFlowing(context.tables, { ...facts, alone })
    return alone ? claimAlone(context.tables, facts) : claim(context.tables, facts)
  }

  async close(): Promise<void> {}

  async #end(claims: Query<Claimed | Blocked>): Promise<{ readonly batch: Batch; readonly ended: Ended[] }> {
    const { context, queue, number, scheduled } = this.#seat
    const claimed = await context.database.transaction(async (tx) => {
      const queryable = context.database.queryable(tx)
      const batch = new Batch()
      batch.took(await run(queryable, claims))
      const ended = await Promise.all(batch.rows.map((row) => this.#judge(row)))
      const outcomes = ended.map(({ judged }) => settledOf(judged))
      if (ended.length > 0)
        await run(queryable, settle(context.tables, { queue: number, consumer: queue.name, outcomes }))
      return { batch, ended }
    })
    for (const { judged } of claimed.ended) if (judged.verdict.kind === 'returned') scheduled(judged.verdict.delayMs)
    return claimed
  }

  async #judge(row: Claimed): Promise<Ended> {
    const attempt = row.attempts + 1
    if (!mayBegin(this.#seat))
      return { judged: { row, attempt, verdict: RETURNED, durationMs: 0 }, prepared: undefined }
    const prepared = await this.#seat.handlers.prepare(row, this.#seat, attempt)
    if ('kind' in prepared) return { judged: { row, attempt, verdict: prepared, durationMs: 0 }, prepared: undefined }
    return { judged: { row, attempt, verdict: COMPLETED, durationMs: 0 }, prepared }
  }

  async #tellAll(ended: readonly Ended[]): Promise<number[]> {
    const attemptsMs: number[] = []
    const groups = groupsOf(ended)
    for (const [at, { judged, prepared }] of ended.entries()) {
      const startedAt = performance.now()
      const group = prepared?.batch ? groups.get(prepared) : undefined
      const called = prepared !== undefined && (!prepared.batch || group !== undefined)
      const over = called && (await this.#attempt(group ?? new Group([{ row: judged.row, prepared }]))) === 'stopped'
      const durationMs = performance.now() - startedAt
      attemptsMs.push(durationMs)
      tell(this.#seat.context.events, this.#seat.queue.name, { ...judged, durationMs })
      if (over) this.#warnOfUnhandled(ended.length - at - 1)
      if (over) break
    }
    return attemptsMs
  }

  #warnOfUnhandled(count: number): void {
    if (count === 0) return
    const message = `${count} deliveries of ${this.#seat.queue.name} had ended at their claim and are not handled: the consumer was stopped`
    this.#seat.context.events.emit('warning', { code: 'NOT_HANDLED', message })
  }

  async #attempt(group: Group): Promise<'ended' | 'stopped'> {
    const { context, queue, timeoutMs, attempts } = this.#seat
    for (const { id: messageId, type, attempt } of group.deliveries)
      context.events.emit('attempt-started', { queue: queue.name, messageId, type, attempt })
    const attempt = new Attempt(timeoutMs, () => new HandlerTimeout(queue.name, timeoutMs))
    attempt.messageId = group.cause.id
    attempts.add(attempt)
    try {
      const answer = await attempt.run(() => group.call(contextOf(this.#seat, attempt)))
      for (const outcome of group.outcomes(answer)) {
        if (outcome.kind !== 'complete') this.#warn(outcome.kind)
        if (outcome.kind === 'pause') await this.#close({ ...outcome, source: 'handler' })
      }
    } catch (error) {
      context.events.emit('error', { where: `handler of ${queue.name}`, error: summarise(error) })
    } finally {
      attempts.delete(attempt)
    }
    return attempt.cutBy instanceof Stopped ? 'stopped' : 'ended'
  }

  // The delivery has ended, and those that follow are spared.
  async #close(closing: Closing): Promise<void> {
    const { context, gate, number } = this.#seat
    gate.hold()
    await run(context.database, pauseQueue(context.tables, pauseOf(number, closing, context.instance)))
    gate.release()
  }

  #warn(outcome: string): void {
    const message = `A handler of ${this.#seat.queue.name} asked for "${outcome}": its delivery has ended already`
    this.#seat.context.events.emit('warning', { code: 'OUTCOME_TOO_LATE', message })
  }
}

/** What batch handlers get, by the first of each: the others are told with it. */
function groupsOf(ended: readonly Ended[]): Map<Prepared, Group> {
  const groups = new Groups()
  for (const { judged, prepared } of ended) if (prepared?.batch) groups.add({ row: judged.row, prepared })
  return new Map([...groups].map((group) => [group.members[0]!.prepared, group]))
}

function contextOf<Tx>({ context }: Seat<Tx>, attempt: Attempt): AtMostOnceContext & ReplyContext {
  return {
    [REPLY]: async <Result>(query: Query<Result>) => (await run(context.database, query))[0],
    get signal() {
      return attempt.signal
    },
  }
}
