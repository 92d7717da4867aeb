import type { ClaimLoop } from '../consumer/claim-loop.ts'
import { clearPayload, factsOf } from '../consumer/facts.ts'
import { Lease } from '../consumer/leases.ts'
import { type Judged, locked, settledOf, tell, type Verdict, withoutAttempt } from '../consumer/verdict.ts'
import type { Context } from '../context.ts'
import { Knock } from '../machinery/knock.ts'
import type { Outbox } from '../outbox.ts'
import type { Claimed } from '../postgres/claim.ts'
import { leaseOrWait, releaseLeased, settleLeased, sortedOut } from '../postgres/leases.ts'
import { run } from '../postgres/queryable.ts'
import type { StoredQueue } from '../postgres/topology.ts'
import { settingsOf } from '../queue-number.ts'
import { milliseconds, type Parsed, parseOptions, passedThrough, shape, wholeNumber } from '../rules/options.ts'
import { Pulled, type PulledDelivery, type PulledFacts } from './pulled.ts'
import { soundingOf } from './sounding.ts'

export type { PulledDelivery } from './pulled.ts'

/** How many deliveries to take, for how long they are yours, and how long to wait for the first. */
export interface ReceiveOptions {
  /** How many deliveries at most, 1 to 1,000. @default 1 */
  readonly max?: number
  /** How long they are yours before others may have them, in milliseconds; `extend` gives more. @default 30_000 */
  readonly leaseMs?: number
  /** How long to wait for the first one, in milliseconds. @default 0 */
  readonly waitMs?: number
  /** Ends the waiting: the answer is then empty. @default none */
  readonly signal?: AbortSignal
}

/** How deliveries are leased while a loop takes them one by one. */
export interface DeliveriesOptions {
  /** How long each is yours when it is handed out, in milliseconds; `extend` gives more. @default 30_000 */
  readonly leaseMs?: number
  /** How many are leased at a time, 1 to 1,000; those not handed out go back uncharged when the loop ends. @default 10 */
  readonly prefetch?: number
  /** Ends the loop. @default none: it is endless */
  readonly signal?: AbortSignal
}

const DEFAULTS = Object.freeze({ max: 1, leaseMs: 30_000, waitMs: 0, prefetch: 10 })

const RECEIVE = shape((z) =>
  z.strictObject({
    max: wholeNumber(1, 1_000).default(DEFAULTS.max),
    leaseMs: milliseconds(1).default(DEFAULTS.leaseMs),
    waitMs: milliseconds().default(DEFAULTS.waitMs),
    signal: passedThrough<AbortSignal | undefined>().optional(),
  }),
)

const DELIVERIES = shape((z) =>
  z.strictObject({
    leaseMs: milliseconds(1).default(DEFAULTS.leaseMs),
    prefetch: wholeNumber(1, 1_000).default(DEFAULTS.prefetch),
    signal: passedThrough<AbortSignal | undefined>().optional(),
  }),
)

const ONE_WAIT_MS = 60_000

interface Ended {
  readonly row: Claimed
  readonly verdict: Verdict
}

interface Attempted {
  readonly row: Claimed
  readonly payload: unknown
}

export interface PullPlace<Tx> {
  readonly context: Context<Tx>
  readonly claims: ClaimLoop
  readonly outbox: Pick<Outbox, 'publishIn'>
  wakeRelay(): void
}

interface PulledAtOnce<Tx> {
  readonly pulled: Pulled<Tx>[]
  /** When it is worth asking again: at once, when others give back what they hold, or when somebody knocks. */
  readonly againMs: number
}

/**
 * Takes deliveries of a queue when the caller wants them. They are leased: the attempt is counted when it is granted, and a
 * caller that dies, or is too slow, loses what it has not settled to others. What has expired, what was processed before, and
 * what the log holds no more is settled on the way and not handed out.
 */
export class Pull<Tx> {
  readonly #place: PullPlace<Tx>
  readonly #name: string

  constructor(place: PullPlace<Tx>, name: string) {
    this.#place = place
    this.#name = name
  }

  async receive(options: ReceiveOptions = {}): Promise<PulledDelivery<Tx>[]> {
    const pulled = await this.#receive(parseOptions(RECEIVE, options))
    return pulled.map(({ delivery }) => delivery)
  }

  async *deliveries(options: DeliveriesOptions = {}): AsyncGenerator<PulledDelivery<Tx>, void, undefined> {
    const { prefetch: max, leaseMs, signal } = parseOptions(DELIVERIES, options)
    while (!signal?.aborted) {
      const leased = await this.#receive({ max, leaseMs, waitMs: ONE_WAIT_MS, signal })
      try {
        while (leased.length > 0 && !signal?.aborted) {
          const next = leased.shift()!
          if (await this.#fresh(next, leaseMs)) yield next.delivery
        }
      } finally {
        await this.#giveBack(leased)
      }
    }
  }

  async #receive({ max, leaseMs, waitMs, signal }: Parsed<typeof RECEIVE>): Promise<Pulled<Tx>[]> {
    const queue = await settingsOf(this.#place.context, this.#name)
    if (waitMs === 0) return (await this.#lease(queue, max, leaseMs)).pulled
    const deadline = performance.now() + waitMs
    const knock = new Knock()
    const leave = this.#place.claims.enlist(queue.id, { wake: () => knock.knock() })
    try {
      while (!signal?.aborted) {
        const { pulled, againMs } = await this.#lease(queue, max, leaseMs)
        if (pulled.length > 0 || performance.now() >= deadline) return pulled
        await knock.heard(Math.min(againMs, deadline - performance.now()), signal)
      }
      return []
    } finally {
      leave()
    }
  }

  // Its neighbours may have taken long.
  async #fresh(delivery: Pulled<Tx>, leaseMs: number): Promise<boolean> {
    return delivery.lease.remainingMs > leaseMs / 2 || (await delivery.renewed(leaseMs))
  }

  async #giveBack(unbegun: readonly Pulled<Tx>[]): Promise<void> {
    const [first] = unbegun
    if (!first) return
    const { context, wakeRelay } = this.#place
    const positions = unbegun.map(({ position }) => position)
    await run(context.database, releaseLeased(context.tables, { ...first.lease.held, positions }))
    wakeRelay()
  }

  async #lease(queue: StoredQueue, limit: number, leaseMs: number): Promise<PulledAtOnce<Tx>> {
    for (;;) {
      const { context } = this.#place
      const sounding = soundingOf(context as Context, queue.id)
      const askedAt = performance.now()
      const facts = { queue: queue.id, consumer: queue.name, limit, leaseMs, floors: sounding.ground }
      const answers = await run(context.database, leaseOrWait(context.tables, { ...facts, holder: context.instance }))
      void sounding.leased(performance.now() - askedAt)
      const { leased, waitMs } = sortedOut(answers)
      const [first] = leased
      if (!first) return { pulled: [], againMs: waitMs ?? Number.POSITIVE_INFINITY }
      const held = new Lease(queue.name, first, { until: askedAt + leaseMs, deliveries: leased.length })
      context.events.emit('leased', { queue: queue.name, lease: held.id, deliveries: leased.length })
      const looked = await Promise.all(leased.map(({ delivery }) => this.#lookAt(queue, delivery)))
      await this.#end(
        queue,
        held,
        looked.filter((each) => 'verdict' in each),
      )
      const attempted = looked.filter((each) => 'payload' in each)
      if (attempted.length > 0)
        return {
          pulled: attempted.map((each) => this.#open(queue, { lease: held, ...each, leasedUntil: first.expiresAt })),
          againMs: 0,
        }
    }
  }

  // Its payload as it was written, or what becomes of it without an attempt.
  async #lookAt(queue: StoredQueue, row: Claimed): Promise<Ended | Attempted> {
    const ended = withoutAttempt(row, queue.flow)
    if (ended) return { row, verdict: ended }
    try {
      return { row, payload: await clearPayload(row, this.#place.context.keys) }
    } catch (error) {
      return { row, verdict: locked(error, row.attempts, queue.retry) }
    }
  }

  #open(queue: StoredQueue, of: Pick<PulledFacts, 'lease' | 'leasedUntil'> & Attempted): Pulled<Tx> {
    const { row, payload, ...held } = of
    const facts = factsOf(row, { queue, attempt: row.attempts, payload })
    return new Pulled(this.#place, { ...held, row, queue, facts })
  }

  async #end(queue: StoredQueue, held: Lease, ended: readonly Ended[]): Promise<void> {
    if (ended.length === 0) return
    const { context } = this.#place
    const judged: Judged[] = ended.map((each) => ({ ...each, attempt: each.row.attempts, durationMs: 0 }))
    const facts = { ...held.held, consumer: queue.name, outcomes: judged.map(settledOf), inbox: false }
    await run(context.database, settleLeased(context.tables, facts))
    for (const each of judged) tell(context.events, queue.name, each)
  }
}
