import type { Pool, PoolClient } from 'pg'

const INTERRUPTED = 130

/**
 * Ctrl-C (or SIGTERM) while a command works: what runs in the database is cancelled, so that it rolls back instead of going on
 * behind the back of whoever stopped it; a command that works in steps ends after the one it is at. The second one ends the
 * process at once, and the server rolls back what was open.
 */
export class Interruption {
  readonly #controller = new AbortController()
  readonly #heard = () => this.#interrupt()
  #stepwise = false

  /** Aborts when a signal was heard. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Listens to signals, for what runs on these connections of the pool. */
  watch(pool: Pool, clients: ReadonlySet<PoolClient>): void {
    this.#cancel = async () => {
      const pids = [...clients].map((client) => (client as unknown as { processID: number }).processID)
      for (const pid of pids) await pool.query('select pg_cancel_backend($1)', [pid]).catch(() => {})
    }
    process.on('SIGINT', this.#heard).on('SIGTERM', this.#heard)
  }

  /** From now on the command looks at the signal between its steps, and nothing is cancelled under it. */
  stepwise(): AbortSignal {
    this.#stepwise = true
    return this.signal
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#heard).off('SIGTERM', this.#heard)
  }

  #cancel: () => Promise<void> = async () => {}

  #interrupt(): void {
    if (this.signal.aborted) process.exit(INTERRUPTED)
    this.#controller.abort()
    if (!this.#stepwise) void this.#cancel()
  }
}
