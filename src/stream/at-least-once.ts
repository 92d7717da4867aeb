import { Attempt, AttemptCut } from '../consumer/attempt.ts'
import { causedBy, type PublishInAttempt } from '../consumer/context.ts'
import { verdictOnError } from '../consumer/failing.ts'
import { Group, type Member } from '../consumer/group.ts'
import type { Prepared } from '../consumer/handlers.ts'
import { REPLY } from '../consumer/replying.ts'
import { mayBegin, report } from '../consumer/seat.ts'
import { DUPLICATE, type Judged, RETURNED, type Verdict, verdictOf } from '../consumer/verdict.ts'
import { HandlerTimeout, LaneLost } from '../errors.ts'
import type { Publishable } from '../outbox.ts'
import { noteAll, processedAmong, remember } from '../postgres/inbox.ts'
import { type Query, type Queryable, run, runLast } from '../postgres/queryable.ts'
import {
  holdLeasedLanes,
  type LaneLease,
  leaseHolds,
  leaseLanes,
  noteLanes,
  type ParkedRow,
  type Position,
  parkedAmong,
  pauseGroup,
  releaseLanes,
  renewLanes,
  type StreamRow,
  settleLanes,
  settleParked,
  takeParked,
} from '../postgres/streams.ts'
import type { PublishOptions } from '../rules/message.ts'
import { Account, type Worked } from './account.ts'
import type { Piece, Strand } from './cohort.ts'
import { keysOf } from './exactly-once.ts'
import type { StreamMode } from './mode.ts'
import { ParkedAccount } from './parked-account.ts'
import type { StreamSeat } from './seat.ts'

export interface LeaseOptions {
  readonly leaseMs: number
  /** The number of this process among the members of the group; undefined while it has no session. */
  readonly member: () => number | undefined
  /** A lease has lapsed: its lanes are anybody's. */
  readonly lost: () => void
}

interface Leased extends LaneLease {
  lanes: bigint
  until: number
}

/**
 * At least once: lanes are leased, handlers run outside of any transaction, and the position is written with the token of the lease.
 * One that lapsed, or whose process died, writes nothing: its messages are somebody else's, from where the lanes were.
 */
export class StreamAtLeastOnce<Tx> implements StreamMode {
  readonly #seat: StreamSeat<Tx>
  readonly #options: LeaseOptions
  readonly #leases = new Set<Leased>()
  readonly #renewing: NodeJS.Timeout

  constructor(seat: StreamSeat<Tx>, options: LeaseOptions) {
    this.#seat = seat
    this.#options = options
    this.#renewing = setInterval(() => void this.#renewAll(), options.leaseMs / 3)
  }

  async take(lanes: bigint): Promise<bigint> {
    const { context, group } = this.#seat
    const { leaseMs, member } = this.#options
    const until = performance.now() + leaseMs
    const facts = { group, lanes, leaseMs, holder: context.instance, session: member() ?? null }
    const [leased] = await run(context.database, leaseLanes(context.tables, facts))
    if (!leased) return 0n
    this.#leases.add({ ...leased, until })
    return leased.lanes
  }

  // A lease is given back when all of its lanes are: until then nobody else may have any of them.
  async release(lanes: bigint): Promise<void> {
    const { context } = this.#seat
    for (const lease of this.#leases) {
      lease.lanes &= ~lanes
      if (lease.lanes !== 0n) continue
      this.#leases.delete(lease)
      await run(context.database, releaseLanes(context.tables, lease))
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#renewing)
    await this.release((1n << 64n) - 1n)
  }

  async work(strand: Strand, piece: Piece): Promise<Worked> {
    const { context, group, settings } = this.#seat
    const lease = this.#leaseOf(strand.lanes)
    if (!lease || this.#seat.stopping.aborted)
      return { lanes: lease ? strand.lanes : 0n, number: strand.number, at: strand.at, rows: 0 }
    const keys = settings.headOfLine === 'park-key' ? keysOf(piece.rows) : []
    const parked = keys.length > 0 ? await run(context.database, parkedAmong(context.tables, group, keys)) : []
    const account = new Account(
      this.#seat,
      parked.map(({ key }) => key),
    )
    const known = await this.#known(piece.rows)
    await this.#judge(
      piece.rows,
      known,
      (row) => account.waits(row),
      (row, judged) => {
        account.enter(row, judged)
        return !account.stopped
      },
      lease,
    )
    const at = account.stopped ? (account.last ? piece.after(account.last) : strand.at) : piece.end
    const rows = account.stopped ? (account.last ? piece.rows.indexOf(account.last) + 1 : 0) : piece.rows.length
    const worked = await context.database.transaction(
      (tx) => this.#settle(context.database.queryable(tx), { strand, piece, lease, account, at, rows }),
      { beginsWithQuery: true },
    )
    if (worked.lanes === 0n) this.#tellLost(strand, piece)
    else account.tell(context.events)
    return worked
  }

  async pass(strands: readonly Strand[], at: Position): Promise<{ lanes: bigint; number: string }> {
    const { context, group } = this.#seat
    let lanes = 0n
    for (const strand of strands) {
      const lease = this.#leaseOf(strand.lanes)
      if (!lease) continue
      const facts = { ...lease, group, lanes: strand.lanes, number: strand.number, keys: [] }
      const number = await context.database.transaction(async (tx) => {
        const queryable = context.database.queryable(tx)
        const [got] = await run(queryable, holdLeasedLanes(context.tables, facts))
        if (got!.held !== strand.lanes) return undefined
        const settled = { group, lanes: got!.held, at, replay: strand.replay, parking: [] }
        return (await run(queryable, settleLanes(context.tables, settled)))[0]!.number
      })
      if (number === undefined) continue
      if (number === '0') return { lanes, number }
      strand.number = number
      lanes |= strand.lanes
    }
    return { lanes, number: strands.reduce((most, { number }) => (BigInt(number) > BigInt(most) ? number : most), '1') }
  }

  async workParked(key: string): Promise<boolean> {
    const { context, group } = this.#seat
    const facts = { group, key, limit: 1, leaseMs: this.#options.leaseMs }
    const rows: ParkedRow[] = await run(context.database, takeParked(context.tables, facts))
    const [first] = rows
    if (!first) return false
    const account = new ParkedAccount(this.#seat)
    const known = await this.#known(rows)
    await this.#judge(
      rows,
      known,
      () => false,
      (row, judged) => account.enter(row as ParkedRow, judged),
    )
    const settled = { group, key, dueAt: first.dueAt, ...account.settled(rows) }
    const [ended] = await run(context.database, settleParked(context.tables, settled))
    if (ended?.settled) account.tell(context.events)
    return true
  }

  #leaseOf(lanes: bigint): Leased | undefined {
    for (const lease of this.#leases) if ((lanes & ~lease.lanes) === 0n && lease.until > performance.now()) return lease
    return undefined
  }

  async #renewAll(): Promise<void> {
    const { context } = this.#seat
    for (const lease of this.#leases) {
      const until = performance.now() + this.#options.leaseMs
      try {
        const [renewed] = await run(context.database, renewLanes(context.tables, lease, this.#options.leaseMs))
        if (renewed?.renewed) lease.until = until
        else this.#lose(lease)
      } catch (error) {
        report(this.#seat, error)
        if (lease.until < performance.now()) this.#lose(lease)
      }
    }
  }

  #lose(lease: Leased): void {
    this.#leases.delete(lease)
    const lost = new LaneLost(this.#seat.queue.name, this.#seat.groupName)
    for (const attempt of this.#seat.attempts) attempt.cut(lost, 0)
    this.#options.lost()
  }

  #tellLost(strand: Strand, piece: Piece): void {
    const { context, queue, groupName } = this.#seat
    context.events.emit('lanes-lost', {
      queue: queue.name,
      group: groupName,
      messages: piece.rows.length,
      position: strand.number,
    })
  }

  async #known(rows: readonly StreamRow[]): Promise<ReadonlySet<string>> {
    const { context, guarded, consumer } = this.#seat
    if (!guarded || rows.length === 0) return new Set()
    const ids = rows.map(({ messageId }) => messageId)
    const known = await run(context.database, processedAmong(context.tables, { consumer, ids }))
    return new Set(known.map(({ id }) => id))
  }

  async #settle(
    queryable: Queryable,
    {
      strand,
      piece,
      lease,
      account,
      at,
      rows,
    }: { strand: Strand; piece: Piece; lease: Leased; account: Account; at: Position; rows: number },
  ): Promise<Worked> {
    const { context, group, guarded, consumer } = this.#seat
    const { tables } = context
    const keys = account.parking.flatMap((parking) => (parking.kind === 'behind' ? [parking.key] : []))
    const facts = { ...lease, group, lanes: strand.lanes, number: strand.number, keys }
    const [got] = await run(queryable, holdLeasedLanes(tables, facts))
    if (got!.held !== strand.lanes) return { lanes: 0n, number: strand.number, at: strand.at, rows: 0 }
    if (account.closing) await run(queryable, pauseGroup(tables, { group, ...account.closing, by: context.instance }))
    if (guarded) {
      const undone = new Set(account.unprocessed)
      const ids = piece.rows.slice(0, rows).map(({ messageId }) => messageId)
      await run(queryable, noteAll(tables, { consumer, ids: ids.filter((id) => !undone.has(id)) }))
    }
    let lanes = strand.lanes
    for (const lane of account.closed.keys()) lanes &= ~(1n << BigInt(lane))
    const { replay } = strand
    if (account.writesNothing && !guarded) {
      const [noted] = await runLast(queryable, noteLanes(tables, { group, replay, lanes, at }))
      return { lanes, number: noted!.number, at, rows, paused: got!.paused }
    }
    const settled = { group, replay, parking: account.parking, lanes, at }
    const [{ number } = { number: '0' }] = await run(queryable, settleLanes(tables, settled))
    for (const [lane, row] of account.closed) {
      const closed = { group, replay, parking: [], lanes: 1n << BigInt(lane), at: piece.after(row) }
      await run(queryable, settleLanes(tables, closed))
    }
    return { lanes, number, at, rows, paused: got!.paused || account.closing !== undefined }
  }

  async #judge(
    rows: readonly StreamRow[],
    known: ReadonlySet<string>,
    waits: (row: StreamRow) => boolean,
    enter: (row: StreamRow, judged: Judged) => boolean,
    lease?: LaneLease,
  ): Promise<void> {
    let members: Member[] = []
    const flush = async (): Promise<boolean> => {
      const group = members
      members = []
      return group.length === 0 || (await this.#judgeGroup(group, enter))
    }
    for (const row of rows) {
      const { handlers } = this.#seat
      const prepared: Prepared | Verdict = known.has(row.messageId)
        ? DUPLICATE
        : await handlers.prepare(row, this.#seat, row.attempts + 1)
      const joins = 'handler' in prepared && prepared.batch
      if ((!joins || (members[0] && members[0].prepared.handler !== prepared.handler)) && !(await flush())) return
      if (waits(row)) continue
      if (joins) members.push({ row, prepared })
      else if (!enter(row, await this.#judged(row, prepared, lease))) return
    }
    await flush()
  }

  async #judged(row: StreamRow, prepared: Prepared | Verdict, lease: LaneLease | undefined): Promise<Judged> {
    const attempt = row.attempts + 1
    if (!mayBegin(this.#seat)) return { row, attempt, verdict: RETURNED, durationMs: 0 }
    if ('kind' in prepared) return { row, attempt, verdict: prepared, durationMs: 0 }
    const { queue } = this.#seat
    const startedAt = performance.now()
    const [verdict] = await this.#attempt([row], async (run) => {
      const context = this.#contextOf(row, prepared, run, lease)
      return [verdictOf(prepared.settle(await prepared.handler(prepared.delivery, context)), attempt, queue.retry)]
    })
    return { row, attempt, verdict: verdict!, durationMs: performance.now() - startedAt }
  }

  async #judgeGroup(members: readonly Member[], enter: (row: StreamRow, judged: Judged) => boolean): Promise<boolean> {
    const { queue } = this.#seat
    const group = new Group(members)
    const startedAt = performance.now()
    const rows = group.rows as readonly StreamRow[]
    const verdicts = mayBegin(this.#seat)
      ? await this.#attempt(rows, async (run) => {
          const context = { extend: async (ms: number) => run.extend(ms), signal: run.signal }
          const outcomes = group.outcomes(await group.call(context))
          return outcomes.map((outcome, n) => verdictOf(outcome, rows[n]!.attempts + 1, queue.retry))
        })
      : rows.map(() => RETURNED)
    const durationMs = (performance.now() - startedAt) / rows.length
    return rows.every((row, n) => enter(row, { row, attempt: row.attempts + 1, verdict: verdicts[n]!, durationMs }))
  }

  async #attempt(rows: readonly StreamRow[], call: (run: Attempt) => Promise<Verdict[]>): Promise<Verdict[]> {
    const { queue, timeoutMs, attempts } = this.#seat
    const attempt = new Attempt(timeoutMs, () => new HandlerTimeout(queue.name, timeoutMs))
    attempts.add(attempt)
    try {
      return await attempt.run(() => call(attempt))
    } catch (error) {
      const { cutBy } = attempt
      if (cutBy && !(cutBy instanceof HandlerTimeout)) return rows.map(() => RETURNED)
      const fault = cutBy ?? (error instanceof AttemptCut ? error.reason : error)
      return rows.map((row) => verdictOnError(this.#seat, row, row.attempts + 1, fault))
    } finally {
      attempts.delete(attempt)
    }
  }

  #contextOf(row: StreamRow, { delivery }: Prepared, attempt: Attempt, lease: LaneLease | undefined) {
    const { context, outbox, consumer } = this.#seat
    const complete = async <Result>(work?: (tx: Tx, publish: PublishInAttempt) => Promise<Result>) => {
      if (!work) return undefined
      return await context.database.transaction(async (tx) => {
        const queryable = context.database.queryable(tx)
        const noted = remember(context.tables, { messageId: row.messageId, consumer })
        const [inbox] = await run(queryable, noted)
        if (!inbox?.fresh) return undefined
        const guarded = context.database.guard(tx)
        const publish = (messages: Publishable | readonly Publishable[], options?: PublishOptions) =>
          outbox.publishIn(queryable, messages, causedBy(delivery, options))
        try {
          const result = await work(guarded.tx, publish as PublishInAttempt)
          await this.#stillOurs(queryable, attempt, lease)
          return result
        } finally {
          guarded.revoke()
        }
      })
    }
    return {
      complete,
      extend: async (ms: number) => attempt.extend(ms),
      get signal() {
        return attempt.signal
      },
      [REPLY]: async <Result>(query: Query<Result>) => (await run(context.database, query))[0],
    }
  }

  async #stillOurs(queryable: Queryable, { cutBy }: Attempt, lease: LaneLease | undefined): Promise<void> {
    if (cutBy) throw cutBy
    const { context, queue, groupName } = this.#seat
    if (lease && (await run(queryable, leaseHolds(context.tables, lease))).length === 0)
      throw new LaneLost(queue.name, groupName)
  }
}
