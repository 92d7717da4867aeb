import { AsyncLocalStorage } from 'node:async_hooks'
import type {
  Database,
  Guarded,
  NoSession,
  Queryable,
  Row,
  Session,
  SessionOptions,
  Sparing,
  StatementOptions,
} from '../database.ts'
import { TransactionOver } from '../errors.ts'
import type { PgClient, PgPool } from './pool.ts'
import { type PgDatabaseOptions, PoolDatabase, parsePgDatabaseOptions } from './pool-database.ts'
import { refuseTransactionControl } from './transaction-control.ts'

/** A library whose transactions handlers are given. */
export interface Library<Tx> {
  readonly name: string
  /** Its connections. */
  readonly pool: PgPool
  /** Its own transaction, begun, worked in and ended on this client and on no other. */
  transaction<Result>(client: PgClient, work: (tx: Tx) => Promise<Result>): Promise<Result>
}

/**
 * The database of a library that stands on `pg`: the transaction is ours, with all that a `PoolDatabase` promises of it, and the
 * library is made to believe that it is its own. What it says to begin and to end it is answered without being sent.
 */
export class LibraryDatabase<Tx extends object> implements Database<Tx> {
  readonly name: string
  readonly #library: Library<Tx>
  readonly #pool: PoolDatabase<PgClient>
  readonly #loans = new WeakMap<Tx, Loan>()

  constructor(library: Library<Tx>, options: PgDatabaseOptions) {
    this.name = library.name
    this.#library = library
    this.#pool = new PoolDatabase(library.name, library.pool, parsePgDatabaseOptions(options))
  }

  transaction<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
    return this.#pool.transaction(async (client) => {
      const loan = new Loan(client, this.#pool)
      try {
        return await this.#library.transaction(loan.client, (tx) => {
          this.#loans.set(tx, loan)
          return loan.during(() => work(tx))
        })
      } catch (error) {
        return loan.conclude(error) as Result
      }
    })
  }

  /** Without the way to commit with the last statement: the library says when it ends, and its COMMIT is what ours waits for. */
  queryable(tx: Tx): Queryable & Partial<Sparing> {
    const ours = this.#pool.queryable(this.#loanOf(tx).lent)
    return {
      session: ours.session,
      query: (text, values, options) => ours.query(text, values, options),
      precede: (statements) => ours.precede?.(statements) === true,
      recall: () => ours.recall?.() === true,
      get sound() {
        return ours.sound === true
      },
    }
  }

  query(text: string, values: readonly unknown[], options?: StatementOptions): Promise<{ rows: Row[] }> {
    return this.#pool.query(text, values, options)
  }

  guard(tx: Tx): Guarded<Tx> {
    return { tx, revoke: this.#loanOf(tx).hold() }
  }

  async abandon(tx: Tx): Promise<void> {
    await this.#pool.abandon(this.#loanOf(tx).lent)
  }

  session(options: SessionOptions): Promise<Session | NoSession> {
    return this.#pool.session(options)
  }

  #loanOf(tx: Tx): Loan {
    const loan = this.#loans.get(tx)
    if (!loan) throw new TransactionOver()
    return loan
  }
}

/** One handler's hold of a transaction that it may share with others. */
interface Hold {
  readonly loan: Loan
  over: boolean
}

// Whose statement it is: one `tx` serves all messages of a batch, and what a handler left behind runs in its own context.
const holds = new AsyncLocalStorage<Hold>()

// What a library says to begin and to end a transaction, and to set its level.
const ENVELOPE = /^\s*(begin|start\s+transaction|set\s+transaction|commit|rollback|end|abort)\b/i
const ANSWERED = Object.freeze({ command: '', rowCount: null, oid: null, rows: [], fields: [] })

class Loan {
  /** The client itself, for our own statements. */
  readonly lent: PgClient
  /** What the library takes for a client of its pool. */
  readonly client: PgClient
  readonly #pool: PoolDatabase<PgClient>
  #phase: 'opening' | 'open' | 'closing' = 'opening'
  #latest: Hold | undefined
  #end: { readonly value: unknown } | { readonly error: unknown } | undefined

  constructor(lent: PgClient, pool: PoolDatabase<PgClient>) {
    this.lent = lent
    this.#pool = pool
    const { tx } = pool.guard(lent, (text) => this.#admit(text))
    this.client = new Proxy(tx, { get: (target, key) => (key === 'release' ? ignore : Reflect.get(target, key)) })
  }

  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#phase = 'open'
    try {
      const value = await work()
      this.#end = { value }
      return value
    } catch (error) {
      this.#end = { error }
      throw error
    } finally {
      this.#phase = 'closing'
    }
  }

  /** What the library's failure comes to: the work's own error first; a connection that broke is for COMMIT to tell. */
  conclude(error: unknown): unknown {
    if (this.#end && 'error' in this.#end) throw this.#end.error
    if (this.#end && this.#pool.broken(this.lent)) return this.#end.value
    throw error
  }

  hold(): () => void {
    const hold: Hold = { loan: this, over: false }
    this.#latest = hold
    holds.enterWith(hold)
    return () => {
      hold.over = true
    }
  }

  #admit(text: string): object | undefined {
    if (this.#phase !== 'open' && ENVELOPE.test(text)) return ANSWERED
    if (this.#phase === 'closing' || this.#holdOfCaller()?.over) throw new TransactionOver()
    refuseTransactionControl(text)
    return undefined
  }

  #holdOfCaller(): Hold | undefined {
    const hold = holds.getStore()
    return hold?.loan === this ? hold : this.#latest
  }
}

function ignore(): void {}
