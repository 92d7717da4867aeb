import type {
  CompiledQuery,
  ConnectionProvider,
  DatabaseConnection,
  Kysely,
  KyselyPlugin,
  QueryExecutor,
  QueryResult,
  Transaction,
} from 'kysely'
import { terminateBackend } from '../database/backend.ts'
import { answerWithin } from '../database/deadline.ts'
import { condemns, isRefusal } from '../database/fault.ts'
import { DEFAULT_ISOLATION, READ_COMMITTED } from '../database/isolation.ts'
import { isAbortedByKysely, kyselyStatement } from '../database/kysely-statement.ts'
import { type ClientParts, ignore, type PgPool, quieten, serverOf } from '../database/pool.ts'
import { clientOptionsOf, openSession } from '../database/session.ts'
import { refuseTransactionControl } from '../database/transaction-control.ts'
import type { Database, Guarded, NoSession, Queryable, Row, Session, SessionOptions } from '../database.ts'
import { CommitUnknown, DatabaseUnreachable, TransactionOver, TransactionRolledBack } from '../errors.ts'
import { summarise } from '../rules/error-summary.ts'
import { milliseconds, parseOptions, passedThrough, shape } from '../rules/options.ts'

/** What `kyselyDatabase` may know beside your Kysely; with the `pool` it needs neither `listenUrl` nor a question per transaction. */
export interface KyselyDatabaseOptions {
  /**
   * The `pg` pool under your dialect. With it Posthaste can open its LISTEN connection without `listenUrl`, need not ask each
   * transaction for its server process, and keeps a connection that dies in use from ending your process.
   */
  readonly pool?: PgPool
  /** How long Postgres may take to answer one of our statements, or the pool to give a connection, in milliseconds; then the connection is destroyed. @default 30_000 */
  readonly deadlineMs?: number
}

const DEFAULTS = Object.freeze({ deadlineMs: 30_000 })

const OPTIONS = shape((z) =>
  z.strictObject({
    pool: passedThrough<PgPool | undefined>().optional(),
    deadlineMs: milliseconds(1).default(DEFAULTS.deadlineMs),
  }),
)

/**
 * Your Kysely database as Posthaste's; transactions are Kysely's own, and so are handlers' `tx`. Its dialect must be Postgres through `pg`.
 *
 * ```ts
 * const pool = new pg.Pool({ connectionString })
 * const db = new Kysely<Shop>({ dialect: new PostgresDialect({ pool }) })
 * const posthaste = new Posthaste({ database: kyselyDatabase(db, { pool }), topology })
 * ```
 */
export function kyselyDatabase<DB>(db: Kysely<DB>, options: KyselyDatabaseOptions = {}): Database<Transaction<DB>> {
  const { pool, deadlineMs } = parseOptions(OPTIONS, options)
  return new KyselyDatabase(db, pool, deadlineMs)
}

class KyselyDatabase<DB> implements Database<Transaction<DB>> {
  readonly name = 'kysely'
  readonly #db: Kysely<DB>
  readonly #pool: PgPool | undefined
  readonly #deadlineMs: number
  readonly #server: string
  readonly #clients: Clients
  readonly #checkouts = new WeakMap<Transaction<DB>, Checkout>()
  #proven = false
  /** The one that a statement is in which begins no transaction; undefined until it was asked for. */
  #isolation: string | undefined

  constructor(db: Kysely<DB>, pool: PgPool | undefined, deadlineMs: number) {
    this.#db = db
    this.#pool = pool
    this.#deadlineMs = deadlineMs
    this.#server = serverOf(pool?.options)
    this.#clients = new Clients(pool)
  }

  async transaction<Result>(work: (tx: Transaction<DB>) => Promise<Result>): Promise<Result> {
    const checkout = new Checkout(this.#deadlineMs, this.#server)
    try {
      return await checkout
        .over(this.#db)
        .transaction()
        .setIsolationLevel(READ_COMMITTED)
        .execute((tx) => this.#lend(checkout, tx, work))
    } catch (error) {
      throw checkout.explain(error)
    } finally {
      checkout.finish()
    }
  }

  queryable(tx: Transaction<DB>): Queryable {
    const checkout = this.#checkouts.get(tx)
    const bare = tx.withoutPlugins()
    return { query: (text, values) => send(bare, text, values, checkout) }
  }

  async query(text: string, values: readonly unknown[]): Promise<{ rows: Row[] }> {
    this.#isolation ??= (await this.#alone(DEFAULT_ISOLATION, [])).rows[0]!.isolation
    if (this.#isolation === READ_COMMITTED) return await this.#alone(text, values)
    return await this.transaction((tx) => this.queryable(tx).query(text, values))
  }

  #alone(text: string, values: readonly unknown[]): Promise<{ rows: Row[] }> {
    return new Checkout(this.#deadlineMs, this.#server).alone(this.#db, kyselyStatement(text, values))
  }

  guard(tx: Transaction<DB>): Guarded<Transaction<DB>> {
    const checkout = this.#checkouts.get(tx)
    const guarded = guard(tx, () => checkout?.ended === true)
    if (checkout) this.#checkouts.set(guarded.tx, checkout)
    return guarded
  }

  async abandon(tx: Transaction<DB>): Promise<void> {
    const checkout = this.#checkouts.get(tx)
    if (!checkout || checkout.ended) return
    await checkout.abandon()
    if (checkout.pid !== undefined) await terminateBackend(this, checkout.pid, this.#deadlineMs)
  }

  async session({ applicationName, url }: SessionOptions): Promise<Session | NoSession> {
    const opening = { applicationName, deadlineMs: this.#deadlineMs }
    if (url) return openSession({ connectionString: url }, { ...opening, sameAs: this })
    if (this.#pool?.options) return openSession(clientOptionsOf(this.#pool.options), opening)
    return this.#sessionOfEnvironment(opening)
  }

  // Whatever DATABASE_URL or PG* lead to is used only once it has proved to be this database.
  async #sessionOfEnvironment(opening: { applicationName: string; deadlineMs: number }): Promise<Session | NoSession> {
    const { DATABASE_URL, PGHOST, PGDATABASE } = process.env
    if (!DATABASE_URL && !PGHOST && !PGDATABASE) return { unavailable: ADVICE }
    try {
      const session = await openSession(DATABASE_URL ? { connectionString: DATABASE_URL } : {}, {
        ...opening,
        sameAs: this,
      })
      if ('unavailable' in session)
        return { unavailable: `${ADVICE}; the environment does not help: ${session.unavailable}` }
      this.#proven = true
      return session
    } catch (error) {
      if (this.#proven) throw error
      return { unavailable: `${ADVICE}; the environment does not help: ${summarise(error).message}` }
    }
  }

  async #lend<Result>(checkout: Checkout, tx: Transaction<DB>, work: (tx: Transaction<DB>) => Promise<Result>) {
    checkout.throwIfBroken()
    this.#checkouts.set(tx, checkout)
    checkout.pid = await this.#clients.pidOf(checkout.connection!, () => askPid(tx, checkout))
    return checkout.lend(() => work(tx))
  }
}

const ADVICE =
  'Kysely tells nobody how to connect: pass { pool } to kyselyDatabase, or listenUrl, for a connection that listens'

async function askPid<DB>(tx: Transaction<DB>, checkout: Checkout): Promise<number> {
  const { rows } = await send(tx.withoutPlugins(), 'select pg_backend_pid() as pid', [], checkout)
  return Number(rows[0]?.pid)
}

type Executes = { executeQuery(query: CompiledQuery): Promise<{ rows: unknown[] }> }

async function send(on: Executes, text: string, values: readonly unknown[], checkout: Checkout | undefined) {
  const answer = on.executeQuery(kyselyStatement(text, values))
  const { rows } = checkout ? await checkout.answerInTime(answer) : await answer
  return { rows: rows as Row[] }
}

/**
 * A connection of Kysely's while it is ours. Kysely destroys a connection in one case alone, when ROLLBACK fails on it: so a
 * connection that is broken, by a deadline or by what it answered, lets ROLLBACK fail, and is never used again.
 */
class Checkout {
  readonly #deadlineMs: number
  readonly #server: string
  readonly #broken = Promise.withResolvers<never>()
  readonly #finished = Promise.withResolvers<void>()
  #breakage: Error | undefined
  #failure: { readonly error: unknown } | undefined
  #commitFailure: { readonly error: unknown } | undefined
  connection: DatabaseConnection | undefined
  pid: number | undefined
  /** The work is done: what it left behind may not slip in after COMMIT. */
  ended = false

  constructor(deadlineMs: number, server: string) {
    this.#deadlineMs = deadlineMs
    this.#server = server
    this.#broken.promise.catch(ignore)
  }

  /** The same database, and the next connection it takes from its pool is watched by this checkout. */
  over<DB>(db: Kysely<DB>): Kysely<DB> {
    const pool = db.getExecutor()
    const provideConnection: ConnectionProvider['provideConnection'] = (consumer, options) =>
      this.#acquire((arrived) =>
        pool.provideConnection((connection) => {
          arrived()
          this.connection = connection
          return consumer(this.#watch(connection))
        }, options),
      )
    return withExecutor(db, pool.withConnectionProvider({ provideConnection }))
  }

  /** One statement outside of a transaction. */
  alone<DB>(db: Kysely<DB>, query: CompiledQuery): Promise<{ rows: Row[] }> {
    return this.over(db)
      .getExecutor()
      .provideConnection(async (connection) => {
        try {
          return await this.answerInTime(connection.executeQuery<Row>(query))
        } catch (error) {
          if (this.#breakage) await this.#discard(db, connection)
          throw error
        }
      })
  }

  async lend<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await Promise.race([(async () => work())(), this.#abandoned.promise])
    } catch (error) {
      this.#failure = { error }
      throw error
    } finally {
      this.ended = true
    }
  }

  answerInTime<Answer>(answer: Promise<Answer>): Promise<Answer> {
    return answerWithin(this.#deadlineMs, answer, this.#break)
  }

  /** What the caller is to be told: the work's own error first, whatever went wrong after it. */
  explain(error: unknown): unknown {
    if (this.#failure) return this.#failure.error
    if (isAbortedByKysely(error)) return new TransactionRolledBack({ cause: error })
    if (!this.#commitFailure) return this.#breakage ?? error
    const { error: cause } = this.#commitFailure
    return isRefusal(cause) ? cause : new CommitUnknown({ cause })
  }

  async abandon(): Promise<void> {
    const over = new TransactionOver()
    this.#break(over)
    this.#abandoned.reject(over)
    await this.#finished.promise
  }

  finish(): void {
    this.ended = true
    this.#finished.resolve()
  }

  throwIfBroken(): void {
    if (this.#breakage) throw this.#breakage
  }

  readonly #abandoned = abandonment()

  readonly #break = (error: Error): void => {
    this.#breakage ??= error
    this.#broken.reject(error)
  }

  async #acquire<Result>(provide: (arrived: () => void) => Promise<Result>): Promise<Result> {
    const { promise: expiry, reject } = Promise.withResolvers<never>()
    const unreachable = (reason: string, cause?: unknown) => new DatabaseUnreachable(this.#server, reason, { cause })
    let arrived = false
    let late = false
    const timer = setTimeout(() => {
      late = true
      reject(unreachable(`the pool gave no connection within ${this.#deadlineMs} ms`))
    }, this.#deadlineMs).unref() // a pool that ends forgets who waits for a connection
    const provided = provide(() => {
      clearTimeout(timer)
      if (late) throw unreachable('the connection came too late')
      arrived = true
    })
    try {
      return await Promise.race([provided, expiry])
    } catch (error) {
      throw arrived || late ? error : unreachable(summarise(error).message, error)
    } finally {
      clearTimeout(timer)
    }
  }

  #watch(connection: DatabaseConnection): DatabaseConnection {
    return standIn(connection, { executeQuery: (query, options) => this.#execute(connection, query, options) })
  }

  #execute(
    connection: DatabaseConnection,
    query: CompiledQuery,
    options: object | undefined,
  ): Promise<QueryResult<never>> {
    const step = stepOf(query.sql)
    const send = () => connection.executeQuery<never>(query, options)
    if (step) return this.#take(step, send)
    return this.#breakage ? this.#broken.promise : send().catch(this.#consider)
  }

  async #take(step: Step, send: () => Promise<QueryResult<never>>): Promise<QueryResult<never>> {
    try {
      this.throwIfBroken()
      return await this.answerInTime(Promise.race([send(), this.#broken.promise]))
    } catch (error) {
      if (condemns(error)) this.#break(error as Error)
      if (step === 'commit') this.#commitFailure = { error }
      // A BEGIN that broke the connection has no ROLLBACK to follow it: with this one there is, and it fails.
      if (step === 'begin' && this.#breakage) return PRETENDED
      throw error
    }
  }

  readonly #consider = (error: unknown): never => {
    if (condemns(error)) this.#break(error as Error)
    throw error
  }

  // Outside of a transaction one is pretended, for its ROLLBACK to fail.
  async #discard<DB>(db: Kysely<DB>, connection: DatabaseConnection): Promise<void> {
    const here: ConnectionProvider = { provideConnection: (consumer) => consumer(connection) }
    await withExecutor(db, db.getExecutor().withConnectionProvider(here))
      .transaction()
      .execute(async () => this.throwIfBroken())
      .catch(ignore)
  }
}

type Step = 'begin' | 'commit' | 'rollback'

const PRETENDED: QueryResult<never> = Object.freeze({ rows: [] })

function abandonment() {
  const abandonment = Promise.withResolvers<never>()
  abandonment.promise.catch(ignore)
  return abandonment
}

// Kysely's own words, which a handler is refused.
function stepOf(text: string): Step | undefined {
  if (text === 'commit' || text === 'rollback') return text
  return text === 'begin' || text.startsWith('start transaction') ? 'begin' : undefined
}

function guard<DB>(tx: Transaction<DB>, ended: () => boolean): Guarded<Transaction<DB>> {
  let over = false
  const check = () => {
    if (over || ended()) throw new TransactionOver()
  }
  const executor = tx.getExecutor()
  const provideConnection: ConnectionProvider['provideConnection'] = async (consumer, options) => {
    check()
    return executor.provideConnection((connection) => consumer(guardConnection(connection, check)), options)
  }
  const guarded = withExecutor(tx, executor.withConnectionProvider({ provideConnection }))
  return { tx: guarded, revoke: () => (over = true) }
}

function guardConnection(connection: DatabaseConnection, check: () => void): DatabaseConnection {
  return standIn(connection, {
    executeQuery: async (query, options) => {
      check()
      refuseTransactionControl(query.sql)
      return connection.executeQuery(query, options)
    },
    streamQuery: async function* (query, chunkSize, options) {
      check()
      refuseTransactionControl(query.sql)
      for await (const chunk of connection.streamQuery<never>(query, chunkSize, options)) {
        yield chunk
        check()
      }
    },
  })
}

/** A connection in everything but these methods; a driver's private ones stay within reach. */
function standIn(connection: DatabaseConnection, methods: Partial<DatabaseConnection>): DatabaseConnection {
  return new Proxy(connection, {
    get(target, key) {
      if (Object.hasOwn(methods, key)) return methods[key as keyof DatabaseConnection]
      const value = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const TRANSPARENT: KyselyPlugin = {
  transformQuery: ({ node }) => node,
  transformResult: async ({ result }) => result,
}

// A Kysely takes what `withPlugin` of its executor returns as the executor of its copy: the one door through which its driver,
// dialect and configuration come along. The executor that is asked is a copy of its own.
function withExecutor<Handle extends { withPlugin(plugin: KyselyPlugin): unknown; getExecutor(): QueryExecutor }>(
  handle: Handle,
  executor: QueryExecutor,
): Handle {
  const copy = handle.withPlugin(TRANSPARENT) as Handle
  copy.getExecutor().withPlugin = () => executor
  return copy.withPlugin(TRANSPARENT) as Handle
}

/** The clients of the pool, when it is known: what they say of their server process is compared with what the server says. */
class Clients {
  readonly #known = new Set<ClientParts>()
  readonly #direct = new WeakMap<DatabaseConnection, number>()

  constructor(pool: PgPool | undefined) {
    if (!pool) return
    quieten(pool)
    const emitter = pool as unknown as ClientParts
    emitter.on('acquire', (client: ClientParts) => {
      this.#known.add(client)
      client.on('error', ignore)
    })
    emitter.on('release', (_error: unknown, client: ClientParts) => client.off('error', ignore))
    emitter.on('remove', (client: ClientParts) => this.#known.delete(client))
  }

  async pidOf(connection: DatabaseConnection, ask: () => Promise<number>): Promise<number> {
    const known = this.#direct.get(connection)
    if (known !== undefined) return known
    const pid = await ask()
    if ([...this.#known].some(({ processID }) => processID === pid)) this.#direct.set(connection, pid)
    return pid
  }
}
