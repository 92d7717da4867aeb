import type { Session } from '../database.ts'
import { cancelBackend, dropSleep, lockSleep, unlockSleep } from '../postgres/duty.ts'
import { type Queryable, run } from '../postgres/queryable.ts'
import type { Tables } from '../postgres/tables.ts'
import { hasCode } from '../rules/error-summary.ts'

export interface SleepContext {
  readonly tables: Tables
  /** Another connection than the session's: the one that a pending request is cancelled from. */
  readonly database: Queryable
  /** Called when a request was granted, and when it has ended without. */
  readonly onSettled: () => void
  /** Called when the session can no longer be relied on. */
  readonly onBroken: (session: Session, error: unknown) => void
}

export type SleepState = 'awake' | 'asking' | 'asleep' | 'rising'

// A cancel that arrives before the request has begun to wait is lost: it is sent again until the request has ended.
const CANCEL_AGAIN_MS = 5

/**
 * The sleep lock, on the session that holds the duty: publishers take it shared, without waiting, and notify when they cannot.
 *
 * ```
 *            ask()               granted
 *   AWAKE ──────────▶ ASKING ──────────────▶ ASLEEP
 *     ▲                  │ rise()               │ rise()
 *     │  cancelled       ▼                      │
 *     └────────────── RISING ◀──────────────────┘
 *        or unlocked
 * ```
 *
 * Nothing may be sent on the session while a cancel is on its way, or the cancel would hit it: `rise` sends the next cancel,
 * or the unlock, only when the one before has returned. A signal that the server has sent by then is handled before the
 * session's backend reads its next statement. A request may be granted at the very moment of the cancel, and the session then
 * keeps the lock although the statement has failed: so a cancelled request is followed by an unlock too.
 */
export class Sleep {
  readonly #context: SleepContext
  #state: SleepState = 'awake'
  #request: Promise<boolean> | undefined
  #session: Session | undefined
  #cancels = 0
  #mayCancel = true

  constructor(context: SleepContext) {
    this.#context = context
  }

  get state(): SleepState {
    return this.#state
  }

  /** How many requests in a row had to be taken back. */
  get cancels(): number {
    return this.#cancels
  }

  /** Asks for the lock, and does not wait for it. */
  ask(session: Session): void {
    if (this.#state !== 'awake') return
    this.#state = 'asking'
    this.#session = session
    const { text, values } = lockSleep(this.#context.tables)
    const request = session.query(text, values, { deadlineMs: null }).then(
      () => true,
      () => false,
    )
    this.#request = request
    void request.then((granted) => this.#settled(session, granted))
  }

  /** Takes the request back, or gives the lock back; publishers are silent again some moments later. */
  rise(): void {
    if (this.#state === 'asleep' || (this.#state === 'asking' && this.#mayCancel)) void this.risen()
  }

  /** The same, waited for. It never rejects. */
  async risen(): Promise<void> {
    const session = this.#session
    const request = this.#request
    if (!session || !request || this.#state === 'rising' || this.#state === 'awake') return
    if (this.#state === 'asking') this.#cancels += 1
    this.#state = 'rising'
    try {
      const granted = await this.#withdraw(session, request)
      const { tables } = this.#context
      await run(session, granted ? unlockSleep(tables) : dropSleep(tables))
    } catch (error) {
      if (this.#session === session) this.#context.onBroken(session, error)
    }
    if (this.#session === session) this.forget()
  }

  /** The session is gone, and the lock with it. */
  forget(): void {
    this.#state = 'awake'
    this.#session = undefined
    this.#request = undefined
  }

  #settled(session: Session, granted: boolean): void {
    if (this.#session !== session || this.#state !== 'asking') return
    if (!granted) return void this.risen().then(this.#context.onSettled)
    this.#state = 'asleep'
    this.#cancels = 0
    this.#context.onSettled()
  }

  async #withdraw(session: Session, request: Promise<boolean>): Promise<boolean> {
    for (;;) {
      const granted = await ended(request, CANCEL_AGAIN_MS)
      if (granted !== undefined) return granted
      await this.#cancel(session)
    }
  }

  async #cancel(session: Session): Promise<void> {
    try {
      await run(this.#context.database, cancelBackend(session.pid))
    } catch (error) {
      // The pool's role may not cancel the other url's: then requests stay, and publishers notify for as long as they do.
      if (hasCode(error, '42501')) this.#mayCancel = false
      throw error
    }
  }
}

function ended(request: Promise<boolean>, ms: number): Promise<boolean | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => resolve(undefined), ms)
  return Promise.race([request, promise]).finally(() => clearTimeout(timer))
}
