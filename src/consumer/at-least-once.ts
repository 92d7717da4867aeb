import { HandlerTimeout, LeaseLost } from '../errors.ts'
import { type Claimed, claimAlone } from '../postgres/claim.ts'
import { pauseQueue } from '../postgres/flow.ts'
import { leaseOrWait, sortedOut } from '../postgres/leases.ts'
import { run } from '../postgres/queryable.ts'
import { settle } from '../postgres/settle.ts'
import { Attempt } from './attempt.ts'
import { takenOf } from './batch.ts'
import type { BatchSize } from './batch-size.ts'
import { Completion } from './completion.ts'
import type { AtLeastOnceContext } from './context.ts'
import { verdictOnError } from './failing.ts'
import type { Floors } from './floors.ts'
import { type Closing, pauseOf } from './gate.ts'
import { type Group, Groups } from './group.ts'
import type { Prepared } from './handlers.ts'
import { Lease, type Leases } from './leases.ts'
import type { Mode } from './mode.ts'
import { REPLY, type ReplyContext } from './replying.ts'
import { mayBegin, report, type Seat } from './seat.ts'
import { Settling } from './settling.ts'
import type { Taken } from './slots.ts'
import { COMPLETED, RETURNED, settledOf, tell, type Verdict, verdictOf } from './verdict.ts'

interface Granted {
  readonly held: Lease | undefined
  readonly rows: readonly Claimed[]
  readonly waitMs: number | undefined
}

/**
 * At least once: a batch is leased, each handler runs outside of any transaction, and what came of it is settled with the
 * lease's token. The attempt is counted by the lease, so a process that dies has used it. A lease that lapsed settles nothing:
 * its deliveries are somebody else's.
 */
export class AtLeastOnce<Tx> implements Mode {
  readonly #seat: Seat<Tx>
  readonly #floors: Floors
  readonly #size: BatchSize
  readonly #leases: Leases<Tx>

  constructor(seat: Seat<Tx>, { floors, size, leases }: { floors: Floors; size: BatchSize; leases: Leases<Tx> }) {
    this.#seat = seat
    this.#floors = floors
    this.#size = size
    this.#leases = leases
  }

  async take(claimed: (taken: Taken) => void): Promise<Taken> {
    // it works them off one after the other, and each would hold its place meanwhile
    const { flow } = this.#seat
    const asked = flow.placed ? 1 : this.#size.next
    const startedAt = performance.now()
    const { held, rows, waitMs } = await this.#lease(asked, startedAt)
    const taken = takenOf({ found: rows.length, waitMs }, asked, flow)
    claimed(taken)
    if (held === undefined) return taken
    const attemptsMs = await this.#workOff(held, rows)
    this.#size.took({ ...taken, elapsedMs: performance.now() - startedAt, attemptsMs })
    return taken
  }

  async takeOne(): Promise<number> {
    const { held, rows } = await this.#lease(1, performance.now(), true)
    if (held) await this.#workOff(held, rows)
    return rows.length
  }

  // What a process died with while it leased comes back to be leased as anything else: the attempts are counted there.
  async takeAlone(): Promise<Taken> {
    const { context, queue, number } = this.#seat
    const facts = { queue: number, consumer: queue.name }
    return await context.database.transaction(async (tx) => {
      const queryable = context.database.queryable(tx)
      const [row] = await run(queryable, claimAlone(context.tables, facts))
      if (!row) return { asked: 1, claimed: 0 }
      const outcome = settledOf({
        row: { ...row, crashes: 0 },
        verdict: RETURNED,
        attempt: row.attempts,
        durationMs: 0,
      })
      await run(queryable, settle(context.tables, { ...facts, outcomes: [outcome] }))
      this.#seat.scheduled(0)
      return { asked: 1, claimed: 1 }
    })
  }

  async close(): Promise<void> {}

  async #lease(limit: number, askedAt: number, probe = false): Promise<Granted> {
    const { context, queue, number } = this.#seat
    const { leaseMs } = this.#leases
    const look = this.#floors.next()
    const facts = { queue: number, consumer: queue.name, limit, leaseMs, floors: look.positions, probe }
    const answers = await run(context.database, leaseOrWait(context.tables, { ...facts, holder: context.instance }))
    const { leased, waitMs } = sortedOut(answers)
    const [first] = leased
    if (!first) return { held: undefined, rows: [], waitMs }
    const rows = leased.map(({ delivery }) => delivery)
    // fewer than were asked for need not be all there are: bodies that did not fit went back, and a lease does not say so
    this.#floors.saw(look, rows, true)
    const held = new Lease(queue.name, first, { until: askedAt + leaseMs, deliveries: rows.length })
    context.events.emit('leased', { queue: queue.name, lease: held.id, deliveries: rows.length })
    return { held, rows, waitMs }
  }

  async #workOff(held: Lease, rows: readonly Claimed[]): Promise<number[]> {
    const settling = new Settling(this.#seat, this.#leases, held)
    this.#leases.hold(held)
    const attemptsMs: number[] = []
    try {
      const groups = this.#seat.handlers.batched ? new Groups() : undefined
      for (const row of rows) {
        if (!mayBegin(this.#seat) || !(await this.#leases.covers(held))) settling.giveBack(row)
        else attemptsMs.push(await this.#judge(held, row, settling, groups))
      }
      for (const group of groups ?? []) {
        const begun = mayBegin(this.#seat) && (await this.#leases.covers(held))
        if (begun) attemptsMs.push(await this.#judgeGroup(held, group, settling))
        else for (const row of group.rows) settling.giveBack(row)
      }
    } finally {
      await settling.finish()
      this.#leases.letGo(held)
      this.#seat.breaker.settled()
    }
    return attemptsMs
  }

  async #judgeGroup(held: Lease, group: Group, settling: Settling<Tx>): Promise<number> {
    const { context, queue, timeoutMs, attempts } = this.#seat
    for (const { id: messageId, type, attempt } of group.deliveries)
      context.events.emit('attempt-started', { queue: queue.name, messageId, type, attempt })
    const startedAt = performance.now()
    const attempt = new Attempt(timeoutMs, () => new HandlerTimeout(queue.name, timeoutMs))
    held.attempt = attempt
    attempts.add(attempt)
    const verdicts = await this.#attemptGroup(held, group, attempt).finally(() => {
      attempts.delete(attempt)
      held.attempt = undefined
    })
    const elapsedMs = performance.now() - startedAt
    if (verdicts === 'lost') this.#leases.lose(held)
    else if (verdicts === 'returned') for (const row of group.rows) settling.giveBack(row)
    else {
      const durationMs = elapsedMs / group.rows.length
      for (const [n, row] of group.rows.entries()) {
        const verdict = verdicts[n]!
        this.#seat.breaker.saw(verdict)
        if (verdict.kind === 'returned') settling.giveBack(row)
        else settling.add({ row, attempt: row.attempts, verdict, durationMs })
      }
    }
    return elapsedMs
  }

  async #attemptGroup(held: Lease, group: Group, attempt: Attempt): Promise<Verdict[] | 'lost' | 'returned'> {
    const { queue } = this.#seat
    try {
      const outcomes = group.outcomes(await attempt.run(() => group.call(this.#sharedContext(held, attempt))))
      return outcomes.map((outcome, n) => verdictOf(outcome, group.rows[n]!.attempts, queue.retry))
    } catch (error) {
      const { cutBy } = attempt
      if (cutBy instanceof LeaseLost || error instanceof LeaseLost) return 'lost'
      if (cutBy && !(cutBy instanceof HandlerTimeout)) return 'returned'
      return group.rows.map((row) => verdictOnError(this.#seat, row, row.attempts, cutBy ?? error))
    }
  }

  async #judge(held: Lease, row: Claimed, settling: Settling<Tx>, groups?: Groups): Promise<number> {
    const { context, handlers, queue } = this.#seat
    const attempt = row.attempts
    const prepared = await handlers.prepare(row, this.#seat, attempt)
    if ('kind' in prepared && prepared.kind === 'returned') {
      settling.giveBack(row, prepared.delayMs)
      tell(context.events, queue.name, { row, attempt, verdict: prepared, durationMs: 0 })
      return 0
    }
    if ('kind' in prepared) {
      settling.add({ row, attempt, verdict: prepared, durationMs: 0 })
      return 0
    }
    if (prepared.batch) {
      groups?.add({ row, prepared })
      return 0
    }
    const { messageId } = row
    context.events.emit('attempt-started', { queue: queue.name, messageId, type: prepared.delivery.type, attempt })
    const startedAt = performance.now()
    const ended = await this.#attempt(held, row, prepared)
    const durationMs = performance.now() - startedAt
    if (ended !== 'lost') this.#seat.breaker.saw(ended === 'committed' ? COMPLETED : ended)
    if (ended === 'lost') this.#leases.lose(held)
    else if (ended === 'committed') settling.committed({ row, attempt, verdict: COMPLETED, durationMs })
    else if (ended.kind === 'returned') await this.#giveBack(row, ended, settling)
    else settling.add({ row, attempt, verdict: ended, durationMs })
    return durationMs
  }

  async #giveBack(row: Claimed, { closing }: Verdict & { kind: 'returned' }, settling: Settling<Tx>): Promise<void> {
    if (closing) await this.#close(closing)
    settling.giveBack(row)
  }

  // Before the delivery goes back, so that nobody takes it from a queue that is still open.
  async #close(closing: Closing): Promise<void> {
    const { context, gate, number } = this.#seat
    gate.hold()
    try {
      await run(context.database, pauseQueue(context.tables, pauseOf(number, closing, context.instance)))
    } catch (error) {
      report(this.#seat, error)
    }
    gate.release()
  }

  async #attempt(held: Lease, row: Claimed, prepared: Prepared): Promise<Verdict | 'committed' | 'lost'> {
    const { queue, timeoutMs, attempts } = this.#seat
    const { handler, delivery } = prepared
    const attempt = new Attempt(timeoutMs, () => new HandlerTimeout(queue.name, timeoutMs))
    const completion = new Completion(this.#seat, held, row, delivery)
    attempt.messageId = delivery.id
    attempt.horizon = { queue: queue.name, retry: queue.retry, timeoutMs, leaseMs: this.#leases.leaseMs }
    held.attempt = attempt
    attempts.add(attempt)
    try {
      const context = this.#contextOf(held, attempt, completion)
      const outcome = prepared.settle(await attempt.run(() => handler(delivery, context)))
      if (outcome.kind === 'complete') await completion.ended()
      return completion.done ? 'committed' : verdictOf(outcome, delivery.attempt, queue.retry)
    } catch (error) {
      return this.#failed(row, attempt, error, completion)
    } finally {
      await completion.revoke()
      attempts.delete(attempt)
      held.attempt = undefined
    }
  }

  #failed(row: Claimed, { cutBy }: Attempt, error: unknown, { done }: Completion<Tx>): Verdict | 'committed' | 'lost' {
    if (done) report(this.#seat, error)
    if (done) return 'committed'
    if (cutBy instanceof LeaseLost || error instanceof LeaseLost) return 'lost'
    if (cutBy && !(cutBy instanceof HandlerTimeout)) return RETURNED
    return verdictOnError(this.#seat, row, row.attempts, cutBy ?? error)
  }

  #contextOf(
    held: Lease,
    attempt: Attempt,
    { complete, reply }: Completion<Tx>,
  ): AtLeastOnceContext<Tx> & ReplyContext {
    const shared = this.#sharedContext(held, attempt)
    return {
      complete,
      [REPLY]: reply,
      extend: shared.extend,
      get signal() {
        return attempt.signal
      },
    }
  }

  #sharedContext(held: Lease, attempt: Attempt): Omit<AtLeastOnceContext<Tx>, 'complete'> {
    return {
      extend: async (ms) => {
        attempt.extend(ms)
        await this.#leases.renew(held, Math.max(ms, this.#leases.leaseMs))
        if (held.lost) throw held.lost
      },
      get signal() {
        return attempt.signal
      },
    }
  }
}
