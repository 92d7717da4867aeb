/** Past 64 written subtransactions every snapshot on the server pays for them. */
export const LARGEST_BATCH = 50

/** Where so many subtransactions are not written: past this a transaction's own cost is next to nothing for each delivery. */
export const LARGEST_QUICK_BATCH = 200

// What the handlers of a batch may take together: twice as long is too long.
const BUDGET_MS = 25
const LARGEST_BUDGET_MS = 200

// A wait for another transaction's lock shows as one attempt that took long among many that did not.
const LOCK_WAIT_MS = 5
const LOCK_WAIT_SHARE = 0.5

const SHORTEST_PENANCE_MS = 2_000
const LONGEST_PENANCE_MS = 120_000
const FORGIVEN_AFTER_MS = 300_000

export interface BatchSizeOptions {
  /** Milliseconds of a clock that never jumps. @default performance.now */
  readonly clock?: () => number
  /** Told when another size is in force. @default nobody */
  readonly changed?: (from: number, to: number) => void
}

export interface BatchTaken {
  readonly asked: number
  readonly claimed: number
  readonly elapsedMs: number
  /** How long each attempt of it took. */
  readonly attemptsMs: readonly number[]
  /** How many savepoints were written behind. @default one for each delivery */
  readonly savepoints?: number
}

/**
 * How many deliveries share a transaction.
 *
 * `'auto'` doubles while the handlers of a full batch took less than 25 ms and waited for nobody, and halves above 50. On a busy
 * machine, where a transaction costs more than that by itself, they may take as long as it does: a batch that shrinks there
 * does less in the same time. It grows beyond 50 deliveries only as long as no more than 50 of them leave a savepoint.
 *
 * After a conflict every size, a fixed one too, falls to 1 for a while, and for twice as long when the conflicts come back:
 * batches that lock the same rows in different orders would otherwise do nothing but find each other's deadlocks.
 */
export class BatchSize {
  readonly #auto: boolean
  readonly #clock: () => number
  readonly #changed: (from: number, to: number) => void
  #size: number
  #aloneUntil = 0
  #penanceMs = SHORTEST_PENANCE_MS
  #lastConflict = Number.NEGATIVE_INFINITY
  /** No batch is larger, whatever else is said. */
  most = Number.POSITIVE_INFINITY

  constructor(option: number | 'auto', { clock = () => performance.now(), changed = () => {} }: BatchSizeOptions = {}) {
    this.#auto = option === 'auto'
    this.#size = option === 'auto' ? 1 : option
    this.#clock = clock
    this.#changed = changed
  }

  get next(): number {
    return this.#clock() < this.#aloneUntil ? 1 : Math.min(this.#size, this.most)
  }

  /** A batch was committed. */
  took({ asked, claimed, elapsedMs, attemptsMs, savepoints = claimed }: BatchTaken): void {
    if (!this.#auto || asked !== this.#size) return
    const workMs = attemptsMs.reduce((sum, ms) => sum + ms, 0)
    const budgetMs = Math.min(Math.max(BUDGET_MS, elapsedMs - workMs), LARGEST_BUDGET_MS)
    if (savepoints > LARGEST_BATCH) this.#become(LARGEST_BATCH)
    else if (workMs > 2 * budgetMs) this.#become(Math.max(1, Math.floor(this.#size / 2)))
    else if (claimed === asked && workMs < budgetMs && !waited(attemptsMs, workMs)) {
      this.#become(Math.max(this.#size, Math.min(this.#size * 2, largestWith(savepoints))))
    }
  }

  /** A deadlock, a serialization failure, a lock that was not granted, a COMMIT that was refused: somebody in the batch is not good company. */
  conflicted(): void {
    const now = this.#clock()
    if (now < this.#aloneUntil) return
    const soon = now - this.#lastConflict < FORGIVEN_AFTER_MS
    this.#penanceMs = soon ? Math.min(this.#penanceMs * 2, LONGEST_PENANCE_MS) : SHORTEST_PENANCE_MS
    this.#lastConflict = now
    this.#aloneUntil = now + this.#penanceMs
    if (this.#auto) this.#become(1)
  }

  #become(size: number): void {
    const from = this.#size
    this.#size = size
    if (from !== size) this.#changed(from, size)
  }
}

/** With so many savepoints in half of it. */
function largestWith(savepoints: number): number {
  return savepoints * 2 > LARGEST_BATCH ? LARGEST_BATCH : LARGEST_QUICK_BATCH
}

function waited(attemptsMs: readonly number[], workMs: number): boolean {
  const slowestMs = Math.max(0, ...attemptsMs)
  return attemptsMs.length > 1 && slowestMs > LOCK_WAIT_MS && slowestMs > workMs * LOCK_WAIT_SHARE
}
