import type { Sparing } from '../database.ts'
import type { Queryable } from '../postgres/queryable.ts'

// A name that no handler gives to a savepoint of its own.
const SET = 'savepoint posthaste_attempt'
const RELEASE = 'release savepoint posthaste_attempt'
const MOVE = `${RELEASE}; ${SET}`
const UNDO = 'rollback to savepoint posthaste_attempt'

/** `fresh`: nothing was written after it. `passed`: what was written after it is kept, and it moves before the next attempt. */
type State = 'none' | 'fresh' | 'passed'

/**
 * What lies between one attempt of a batch and its neighbours.
 *
 * It is set, or moved, when an attempt first reaches for its transaction and not before, so handlers that touch nothing cost
 * nothing. Where the connection can, that travels with the first statement of the handler, and whether an attempt may be kept is
 * read off the connection: then no attempt costs a round trip of its own. Elsewhere one round trip per attempt both ends it and
 * begins the next. The statements of one connection are answered in the order they are given, so what a handler asks right after
 * `set` stands behind the savepoint.
 */
export class Savepoint {
  readonly #queryable: Queryable & Partial<Sparing>
  #state: State = 'none'
  #before: State = 'none'
  #sent: Promise<unknown> | undefined
  #touched = false
  #written = 0

  constructor(queryable: Queryable & Partial<Sparing>) {
    this.#queryable = queryable
  }

  /** Whether the attempt under way, or the last one if nothing came after it, may have written something. */
  get touched(): boolean {
    return this.#touched
  }

  /** How many attempts may have written something. */
  get written(): number {
    return this.#written
  }

  set(): void {
    if (this.#touched) return
    this.#touched = true
    this.#written += 1
    this.#before = this.#state
    if (this.#state === 'fresh') return
    this.#put(this.#state === 'none' ? [SET] : [RELEASE, SET])
    this.#state = 'fresh'
  }

  #put(statements: readonly string[]): void {
    if (this.#queryable.precede?.(statements)) return
    this.#sent = this.#queryable.query(statements.join('; '), [])
    this.#sent.catch(() => {})
  }

  /** Rejects with 25P02 when an error inside the attempt was swallowed; `undo` then still takes the attempt back. */
  async keep(): Promise<void> {
    if (!this.#touched || this.#recalled()) return
    if (this.#queryable.sound === true) this.#state = 'passed'
    else await this.#ask(MOVE)
    this.#touched = false
  }

  async undo(): Promise<void> {
    if (!this.#touched || this.#recalled()) return
    await this.#ask(UNDO)
    this.#touched = false
  }

  // An attempt that asked for nothing has nothing to be kept or undone.
  #recalled(): boolean {
    if (!this.#queryable.recall?.()) return false
    this.#state = this.#before
    this.#touched = false
    this.#written -= 1
    return true
  }

  async #ask(text: string): Promise<void> {
    await this.#sent
    await this.#queryable.query(text, [])
  }
}
