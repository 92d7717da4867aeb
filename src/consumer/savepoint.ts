import type { Queryable } from '../postgres/queryable.ts'

// A name that no handler gives to a savepoint of its own.
const SET = 'savepoint posthaste_attempt'
const MOVE = 'release savepoint posthaste_attempt; savepoint posthaste_attempt'
const UNDO = 'rollback to savepoint posthaste_attempt'

/**
 * What lies between one attempt of a batch and its neighbours.
 *
 * It is set when an attempt first reaches for its transaction and not before, so handlers that touch nothing cost nothing;
 * from then on one round trip per attempt both ends it and begins the next. The statements of one connection are answered in
 * the order they are given, so what a handler asks right after `set` stands behind the savepoint.
 */
export class Savepoint {
  readonly #queryable: Queryable
  #standing: Promise<unknown> | undefined
  #touched = false

  constructor(queryable: Queryable) {
    this.#queryable = queryable
  }

  /** Whether the attempt under way, or the last one if nothing came after it, may have written something. */
  get touched(): boolean {
    return this.#touched
  }

  set(): void {
    this.#touched = true
    if (this.#standing !== undefined) return
    this.#standing = this.#queryable.query(SET, [])
    this.#standing.catch(() => {})
  }

  /** Rejects with 25P02 when an error inside the attempt was swallowed; `undo` then still takes the attempt back. */
  async keep(): Promise<void> {
    if (!this.#touched) return
    await this.#standing
    await this.#queryable.query(MOVE, [])
    this.#touched = false
  }

  async undo(): Promise<void> {
    if (!this.#touched) return
    await this.#standing
    await this.#queryable.query(UNDO, [])
    this.#touched = false
  }
}
