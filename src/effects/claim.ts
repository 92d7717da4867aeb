import type { Context } from '../context.ts'
import { type Claim, type EffectRow, renewEffect } from '../postgres/effects.ts'
import { type Query, run } from '../postgres/queryable.ts'
import { hasCode, isConnectionLoss, isTransient } from '../rules/error-summary.ts'

const RETRY_MS = 25
const LONGEST_PAUSE_MS = 1_000

/**
 * An operation that is ours until its lease lapses. The time here is counted from before the lease was asked for, by two
 * clocks of this process of which the faster one counts: one that never jumps, and one that goes on while the machine sleeps.
 * So it ends no later than the database's.
 */
export class EffectClaim {
  readonly operation: string
  readonly token: string
  readonly leaseMs: number
  readonly #context: Context
  readonly #lapsed = new AbortController()
  readonly #marginMs: number
  #asked: Mark
  #timer: NodeJS.Timeout | undefined

  constructor(context: Context, { effect }: Claim, { leaseMs, asked }: { leaseMs: number; asked: Mark }) {
    this.#context = context
    this.operation = effect.operation
    this.token = effect.token
    this.leaseMs = leaseMs
    this.#asked = asked
    this.#marginMs = Math.min(1_000, leaseMs / 4)
  }

  get held(): Pick<EffectRow, 'operation' | 'token'> {
    return { operation: this.operation, token: this.token }
  }

  /** Fires when the claim is another's, or will be before long and could not be renewed. */
  get signal(): AbortSignal {
    return this.#lapsed.signal
  }

  /** So much of the lease is gone that nothing may be begun under it: the process may have been stopped for a while. */
  get isStale(): boolean {
    return this.#asked.elapsedMs > this.leaseMs / 2
  }

  renewedAt(asked: Mark): void {
    this.#asked = asked
  }

  /** False: it is another's. */
  async renew(): Promise<boolean> {
    const asked = new Mark()
    const { tables } = this.#context
    const [answer] = await insist(this.#context, renewEffect(tables, { ...this.held, leaseMs: this.leaseMs }), {
      patienceMs: this.leaseMs / 4,
    })
    if (!answer?.renewed) return false
    this.#asked = asked
    return true
  }

  /** Renews the lease for as long as the work goes on. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#timer = setInterval(() => void this.#keep(), this.leaseMs / 3)
    try {
      return await work()
    } finally {
      clearInterval(this.#timer)
    }
  }

  async #keep(): Promise<void> {
    const renewed = await this.renew().catch(() => this.#asked.elapsedMs < this.leaseMs - this.#marginMs)
    if (!renewed) this.#lapsed.abort(new Error('the claim of the operation could not be kept'))
  }
}

/** A moment, by both clocks. */
export class Mark {
  readonly #steady = performance.now()
  readonly #wall = Date.now()

  get elapsedMs(): number {
    return Math.max(performance.now() - this.#steady, Date.now() - this.#wall)
  }
}

/**
 * Runs a statement that may be run twice, again while the connection is lost or the row is locked. Money may have moved: what
 * is known of it is not given up at the first broken socket.
 */
export async function insist<Result>(
  { database }: Pick<Context, 'database'>,
  query: Query<Result>,
  { patienceMs }: { readonly patienceMs: number },
): Promise<Result[]> {
  const since = new Mark()
  for (let tries = 0; ; tries += 1) {
    try {
      return await run(database, query)
    } catch (error) {
      const pause = Math.min(RETRY_MS * 2 ** tries, LONGEST_PAUSE_MS)
      if (!isPassing(error) || since.elapsedMs + pause > patienceMs) throw error
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
}

function isPassing(error: unknown): boolean {
  return isConnectionLoss(error) || isTransient(error) || hasCode(error, 'STATEMENT_TIMED_OUT')
}
