import type { Answer, Queryable, Row, StatementOptions } from './postgres/queryable.ts'

export type { Queryable, Row, StatementOptions }

/**
 * What Posthaste asks of the way you talk to Postgres: `pgDatabase(pool)` and `kyselyDatabase(db)` are its adapters.
 *
 * `Tx` is your own transaction: what your driver calls it is what your handlers are given.
 */
export interface Database<Tx> {
  /** The adapter's name, for logs and errors. */
  readonly name: string

  /**
   * Runs the work in a READ COMMITTED transaction and resolves only when the server has said COMMIT.
   *
   * A transaction that an error inside it had aborted answers COMMIT with ROLLBACK: that is a `TransactionRolledBack`.
   * When the work throws, its error is what you get, even if the rollback fails. A connection that failed, or whose rollback
   * failed, is destroyed, never reused.
   */
  transaction<Result>(work: (tx: Tx) => Promise<Result>, options?: TransactionOptions): Promise<Result>

  /** Our own statements inside a transaction, on the same connection and in the order they are given. */
  queryable(tx: Tx): Queryable & Partial<Sparing>

  /**
   * One statement, committed by itself. It answers or rejects within the deadline; a connection that did not answer, failed,
   * or leads to a server that has become read-only (25006) is destroyed.
   */
  query(text: string, values: readonly unknown[], options?: StatementOptions): Promise<{ rows: Row[] }>

  /** The transaction as a handler sees it: it can do everything but end it, and nothing at all once revoked. */
  guard(tx: Tx): Guarded<Tx>

  /**
   * Tears the transaction out of the hands of work that does not stop. When this resolves, the server has rolled it back and
   * nothing that the work still writes can ever take effect.
   */
  abandon(tx: Tx): Promise<void>

  /**
   * A connection of our own beside the pool, for LISTEN and for locks that belong to a session. Absent, or an answer of
   * `{ unavailable }`, means polling.
   */
  session?(options: SessionOptions): Promise<Session | NoSession>
}

/** What a transaction may be told before it begins. */
export interface TransactionOptions {
  /** The first statement of the work is one of `queryable(tx)`: BEGIN may travel with it. @default false */
  readonly beginsWithQuery?: boolean
}

/** What saves a round trip, where the driver can. */
export interface Sparing {
  /**
   * Runs a last statement and commits, in one round trip. When the statement is refused nothing is committed, and the transaction
   * is open as after any statement that failed; what COMMIT answers means what it means to `transaction`.
   */
  queryAndCommit(text: string, values: readonly unknown[], options?: StatementOptions): Promise<Answer>

  /**
   * Has statements that answer nothing sent in front of what is asked of the transaction next, by whomever, in its round trip:
   * when they fail, so does it. False when the connection cannot.
   */
  precede(statements: readonly string[]): boolean

  /** Takes back what was to precede; false when it was sent, or may be at any moment. */
  recall(): boolean

  /** Everything that was asked of the transaction is answered, and no error has aborted it. */
  readonly sound: boolean
}

export interface Guarded<Tx> {
  readonly tx: Tx
  revoke(): void
}

export interface SessionOptions {
  /** What `pg_stat_activity.application_name` shows. */
  readonly applicationName: string
  /** A direct connection string, when the pool goes through a pooler that hands sessions around. */
  readonly url?: string
}

/** Why there is no session, and what to pass to have one. */
export interface NoSession {
  readonly unavailable: string
}

export interface SessionStatementOptions extends StatementOptions {
  /** How long to wait for the answer; `null` for as long as it takes: a lock that is waited for. @default 30_000 */
  readonly deadlineMs?: number | null
}

export interface Session extends Queryable, AsyncDisposable {
  /** The server process behind this connection. */
  readonly pid: number
  query(text: string, values: readonly unknown[], options?: SessionStatementOptions): Promise<{ rows: Row[] }>
  /** Called for every notification, with the channel's name. */
  onNotification(callback: (channel: string) => void): void
  /** Called once, when the connection ends without `close()`; every statement under way has rejected or will. */
  onLost(callback: (error: Error) => void): void
  /** Ends the connection, at once if a statement is still waiting. */
  close(): Promise<void>
}
