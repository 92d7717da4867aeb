/** Past 64 written subtransactions every snapshot on the server pays for them. */
export const LARGEST_BATCH = 50

const QUICK_MS = 25
const SLOW_MS = 50

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
  readonly slowestAttemptMs: number
}

/**
 * How many deliveries share a transaction.
 *
 * `'auto'` doubles while a full batch was quick and waited for nobody, and halves when one was slow. After a conflict every
 * size, a fixed one too, falls to 1 for a while, and for twice as long when the conflicts come back: batches that lock the same
 * rows in different orders would otherwise do nothing but find each other's deadlocks.
 */
export class BatchSize {
  readonly #auto: boolean
  readonly #clock: () => number
  readonly #changed: (from: number, to: number) => void
  #size: number
  #aloneUntil = 0
  #penanceMs = SHORTEST_PENANCE_MS
  #lastConflict = Number.NEGATIVE_INFINITY

  constructor(option: number | 'auto', { clock = () => performance.now(), changed = () => {} }: BatchSizeOptions = {}) {
    this.#auto = option === 'auto'
    this.#size = option === 'auto' ? 1 : option
    this.#clock = clock
    this.#changed = changed
  }

  get next(): number {
    return this.#clock() < this.#aloneUntil ? 1 : this.#size
  }

  /** A batch was committed. */
  took({ asked, claimed, elapsedMs, slowestAttemptMs }: BatchTaken): void {
    if (!this.#auto || asked !== this.#size) return
    if (elapsedMs > SLOW_MS) this.#become(Math.max(1, Math.floor(this.#size / 2)))
    else if (claimed === asked && elapsedMs < QUICK_MS && !waited(asked, elapsedMs, slowestAttemptMs)) {
      this.#become(Math.min(this.#size * 2, LARGEST_BATCH))
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

function waited(asked: number, elapsedMs: number, slowestAttemptMs: number): boolean {
  return asked > 1 && slowestAttemptMs > LOCK_WAIT_MS && slowestAttemptMs > elapsedMs * LOCK_WAIT_SHARE
}
