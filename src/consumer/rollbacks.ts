import { setTimeout as sleep } from 'node:timers/promises'
import { HandlerTimeout } from '../errors.ts'
import { type Claimed, claimAgain } from '../postgres/claim.ts'
import { run } from '../postgres/queryable.ts'
import { settle } from '../postgres/settle.ts'
import { hasCode, isConnectionLoss, isTransient, summarise } from '../rules/error-summary.ts'
import type { Batch } from './batch.ts'
import type { BatchSize } from './batch-size.ts'
import { verdictOnError } from './failing.ts'
import type { Floors } from './floors.ts'
import type { OwnRows } from './own-rows.ts'
import { report, type Seat } from './seat.ts'
import { type Judged, settledOf, tell, type Verdict } from './verdict.ts'

// A conflict is repeated at once, each time a little later; then its delivery makes room for others.
const REPEATS = 5
const REPEAT_MS = 10
const STEP_ASIDE_MS = 1_000
const MOST_REMEMBERED = 10_000

const REWRITE_TRIES = 5
const REWRITE_PAUSE_MS = 20

/**
 * What becomes of deliveries whose transaction was rolled back, by what did it:
 *
 *     the handler's time was over         its attempt is recorded in a new transaction; the others go back. Of a batch handler
 *                                         all go back, to be attempted alone
 *     COMMIT or settle was refused        alone: recorded the same way; in company: all go back, to be attempted alone
 *     deadlock, serialization, lock wait  all go back, no attempt is used, batches fall to 1
 *     connection lost, consumer stopped   all go back, no attempt is used
 *
 * Whoever dies on the way here leaves suspects, and is counted as a crash.
 */
export class Rollbacks<Tx> {
  readonly #seat: Seat<Tx>
  readonly #floors: Floors
  readonly #size: BatchSize
  readonly #own: OwnRows<Tx>
  readonly #repeats = new Map<string, number>()

  constructor(seat: Seat<Tx>, { floors, size, own }: { floors: Floors; size: BatchSize; own: OwnRows<Tx> }) {
    this.#seat = seat
    this.#floors = floors
    this.#size = size
    this.#own = own
  }

  /** Rejects with what should make the consumer pause: the database is out of order. */
  async after(batch: Batch, error: unknown): Promise<void> {
    if (batch.rows.length === 0) throw error
    const rows = [...batch.rows, ...batch.leftOut]
    this.#own.hold(rows)
    this.#floors.cameBack(rows)
    try {
      await this.#afterAll(batch, error)
    } finally {
      if (batch.leftOut.length > 0) await this.#own.giveBack(batch.leftOut)
    }
  }

  async #afterAll(batch: Batch, error: unknown): Promise<void> {
    if (batch.cut) return await this.#cut(batch, batch.cut)
    if (isTransient(error)) return await this.#conflict(batch, error)
    if (!isOutage(error)) return await this.#refusal(batch, error)
    await this.#own.giveBack(batch.rows)
    throw error
  }

  /** A delivery that was committed after all. */
  forget({ position }: Claimed): void {
    if (this.#repeats.size > 0) this.#repeats.delete(position)
  }

  async #cut(batch: Batch, { rows, reason, abandoned }: NonNullable<Batch['cut']>): Promise<void> {
    await abandoned.catch((error) => report(this.#seat, error))
    const timedOut = reason instanceof HandlerTimeout
    if (timedOut && rows.length > 1) this.#size.conflicted()
    const row = timedOut && rows.length === 1 ? rows[0]! : undefined
    await this.#own.giveBack(batch.rows.filter((other) => other !== row))
    if (row) await this.#record(row, reason)
  }

  // Which of them it was shows when each is alone.
  async #refusal({ rows }: Batch, error: unknown): Promise<void> {
    if (rows.length === 1) return await this.#record(rows[0]!, error)
    this.#size.conflicted()
    await this.#own.giveBack(rows)
  }

  async #conflict({ rows, current }: Batch, error: unknown): Promise<void> {
    if (rows.length > 1) this.#size.conflicted()
    const at = current ?? rows[0]!
    const repeats = (this.#repeats.get(at.position) ?? 0) + 1
    // others may have taken what is remembered here
    if (this.#repeats.size >= MOST_REMEMBERED) this.#repeats.clear()
    this.#repeats.set(at.position, repeats)
    this.#tellRepeated(at, error)
    await this.#own.giveBack(repeats > REPEATS ? rows.filter((row) => row !== at) : rows)
    if (repeats > REPEATS) await this.#stepAside(at)
    else await sleep(Math.random() * REPEAT_MS * 2 ** repeats)
  }

  #tellRepeated({ messageId, attempts, body }: Claimed, error: unknown): void {
    const { context, queue } = this.#seat
    const attempted = { queue: queue.name, messageId, type: body?.type ?? '', attempt: attempts + 1 }
    context.events.emit('attempt-repeated', { ...attempted, error: summarise(error) })
  }

  async #record(row: Claimed, error: unknown): Promise<void> {
    await this.#rewrite(row, verdictOnError(this.#seat, row, row.attempts + 1, error))
  }

  async #stepAside(row: Claimed): Promise<void> {
    this.forget(row)
    await this.#rewrite(row, { kind: 'returned', delayMs: Math.round(STEP_ASIDE_MS * (0.5 + Math.random())) })
  }

  // Somebody may be looking whether the row is a crash's, and hold it for a moment: then once more.
  async #rewrite(row: Claimed, verdict: Verdict): Promise<void> {
    const judged = { row, verdict, attempt: row.attempts + 1, durationMs: 0 }
    for (let tries = 0; tries < REWRITE_TRIES; tries += 1) {
      if (tries > 0) await sleep(REWRITE_PAUSE_MS * 2 ** tries)
      if (await this.#rewritten(judged)) return this.#own.release(row)
    }
    await this.#own.giveBack([row])
  }

  async #rewritten(judged: Judged): Promise<boolean> {
    const { context, queue, number } = this.#seat
    const facts = { queue: number, consumer: queue.name }
    try {
      const found = await context.database.transaction(async (tx) => {
        const queryable = context.database.queryable(tx)
        const [row] = await run(queryable, claimAgain(context.tables, { ...facts, rows: [judged.row] }))
        if (row) await run(queryable, settle(context.tables, { ...facts, outcomes: [settledOf(judged)] }))
        return row !== undefined
      })
      if (found) this.#tellRecorded(judged)
      return found
    } catch (error) {
      report(this.#seat, error)
      return false
    }
  }

  #tellRecorded(judged: Judged): void {
    const { verdict } = judged
    if (verdict.kind === 'retry' || verdict.kind === 'returned') this.#seat.scheduled(verdict.delayMs)
    tell(this.#seat.context.events, this.#seat.queue.name, judged)
  }
}

/** Nothing that a message could have done: the connection, the server, or its resources. */
function isOutage(error: unknown): boolean {
  if (isConnectionLoss(error) || hasCode(error, 'COMMIT_UNKNOWN') || hasCode(error, 'STATEMENT_TIMED_OUT')) return true
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' && /^(53...|58...|XX...|25006)$/.test(code)
}
