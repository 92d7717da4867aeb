import type { Blocked, Claimed } from '../postgres/claim.ts'
import type { Flow } from './flow.ts'
import type { Taken } from './slots.ts'
import type { Judged, Verdict } from './verdict.ts'

/** One transaction of a consumer: what it claimed, and what has come of it so far. */
export class Batch {
  readonly #startedAt = performance.now()
  readonly judged: Judged[] = []
  #rows: readonly Claimed[] = []
  #leftOut: readonly Claimed[] = []
  #waitMs: number | undefined
  /** The delivery that was attempted last. */
  current: Claimed | undefined
  /** The attempt that took the transaction with it, and when the server has let go of that. */
  cut: { readonly rows: readonly Claimed[]; readonly reason: Error; readonly abandoned: Promise<void> } | undefined
  /** COMMIT was answered with COMMIT. */
  committed = false
  /** How many savepoints its attempts wrote behind. */
  savepoints = 0

  took(answers: readonly (Claimed | Blocked)[]): void {
    const claimed = answers.filter((answer): answer is Claimed => !('waitMs' in answer))
    this.#rows = inKeyOrder(claimed.filter(({ leftOut }) => !leftOut))
    this.#leftOut = claimed.filter(({ leftOut }) => leftOut)
    this.#waitMs = answers.find((answer): answer is Blocked => 'waitMs' in answer)?.waitMs
  }

  /** Others have all there is to have: when to ask again. */
  get waitMs(): number | undefined {
    return this.#waitMs
  }

  /** In the order in which they are attempted. */
  get rows(): readonly Claimed[] {
    return this.#rows
  }

  /** What it left in its place, since its bodies would have been too much at once. */
  get leftOut(): readonly Claimed[] {
    return this.#leftOut
  }

  /** How many it found. */
  get found(): number {
    return this.#rows.length + this.#leftOut.length
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedAt
  }

  get attemptsMs(): readonly number[] {
    return this.judged.map(({ durationMs }) => durationMs)
  }

  /** One of its handlers closed the queue. */
  get closed(): boolean {
    return this.judged.some(({ verdict }) => verdict.kind === 'returned' && verdict.closing !== undefined)
  }

  get last(): Claimed | undefined {
    return this.rows.at(-1)
  }

  blame(judged: Judged, verdict: Verdict): void {
    this.judged[this.judged.indexOf(judged)] = { ...judged, verdict }
  }
}

/** What came of a claim. Of one that goes key by key, or was allowed less than it asked for, there may be more than it found. */
export function takenOf(
  { found, waitMs }: Pick<Batch, 'found' | 'waitMs'>,
  asked: number,
  { byKey, rated }: Pick<Flow, 'byKey' | 'rated'>,
): Taken {
  return { asked, claimed: (byKey || rated) && found > 0 ? asked : found, waitMs }
}

/** By key, then by age: batches that lock the rows of their keys lock them in one order, and wait instead of deadlocking. */
function inKeyOrder(rows: readonly Claimed[]): readonly Claimed[] {
  return rows.length < 2 ? rows : rows.toSorted((a, b) => byKey(a, b) || byAge(a, b))
}

function byKey(a: Claimed, b: Claimed): number {
  const [left, right] = [a.body?.key ?? '', b.body?.key ?? '']
  return left < right ? -1 : left > right ? 1 : 0
}

function byAge(a: Claimed, b: Claimed): number {
  return BigInt(a.position) < BigInt(b.position) ? -1 : 1
}
