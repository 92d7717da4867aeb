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
  TransactionOptions,
} from '../database.ts'
import {
  CommitUnknown,
  ConnectionLost,
  DatabaseUnreachable,
  TransactionControlRefused,
  TransactionOver,
  TransactionRolledBack,
} from '../errors.ts'
import { summarise } from '../rules/error-summary.ts'
import { milliseconds, parseOptions, shape } from '../rules/options.ts'
import { terminateBackend } from './backend.ts'
import { answerWithin } from './deadline.ts'
import { condemns, isRefusal, isStale } from './fault.ts'
import { DEFAULT_ISOLATION, READ_COMMITTED } from './isolation.ts'
import { Lane } from './lane.ts'
import { ignore, type PgClient, type PgPool, partsOf, quieten, serverOf } from './pool.ts'
import { Preceded } from './preceded.ts'
import { answeredBy, isDirect, nameOf, pidOf } from './prepared.ts'
import { clientOptionsOf, openSession } from './session.ts'
import { refuseTransactionControl } from './transaction-control.ts'
import { ownTypes, type Types } from './types.ts'
import { isPlain, type Prepared, Volley, type VolleyAnswer } from './volley.ts'

/** How `pgDatabase` uses its pool; every field has a default. */
export interface PgDatabaseOptions {
  /** How long Postgres may take to answer one of our statements, or the pool to give a connection, in milliseconds; then the connection is destroyed. @default 30_000 */
  readonly deadlineMs?: number
  /**
   * Whether our hot statements are prepared once per connection: a third less work for the server. It is done on connections
   * that are seen to lead to a server process of their own, never through a pooler such as PgBouncer. @default true
   */
  readonly prepare?: boolean
}

const DEFAULTS = Object.freeze({ deadlineMs: 30_000, prepare: true })

const OPTIONS = shape((z) =>
  z.strictObject({
    deadlineMs: milliseconds(1).default(DEFAULTS.deadlineMs),
    prepare: z.boolean().default(DEFAULTS.prepare),
  }),
)

export function parsePgDatabaseOptions(options: PgDatabaseOptions): Required<PgDatabaseOptions> {
  return parseOptions(OPTIONS, options)
}

/** A database on a `pg` pool, or on what a library has in its place. */
export class PoolDatabase<Client extends PgClient> implements Database<Client> {
  readonly name: string
  readonly #pool: PgPool<Client>
  readonly #options: Required<PgDatabaseOptions>
  readonly #checkouts = new WeakMap<Client, Checkout<Client>>()
  /** The one that a statement is in which begins no transaction; undefined until it was asked for. */
  #isolation: string | undefined

  constructor(name: string, pool: PgPool<Client>, options: Required<PgDatabaseOptions>) {
    this.name = name
    this.#pool = pool
    this.#options = options
    quieten(pool)
  }

  async transaction<Result>(
    work: (tx: Client) => Promise<Result>,
    { beginsWithQuery = false }: TransactionOptions = {},
  ): Promise<Result> {
    const checkout = await this.#checkOut()
    this.#checkouts.set(checkout.client, checkout)
    try {
      await checkout.begin(beginsWithQuery)
      const result = await checkout.lend(work)
      await checkout.commit()
      return result
    } catch (error) {
      await checkout.rollBack(error)
      throw error
    } finally {
      this.#checkouts.delete(checkout.client)
      checkout.release()
    }
  }

  queryable(tx: Client): Queryable & Partial<Sparing> {
    const checkout = this.#checkouts.get(tx)
    if (checkout?.client === tx) return checkout
    const types = ownTypes(partsOf(tx))
    return { query: (text, values) => tx.query({ text, values: [...values], types }) }
  }

  async query(text: string, values: readonly unknown[], options?: StatementOptions): Promise<{ rows: Row[] }> {
    this.#isolation ??= await this.#alone((checkout) => checkout.isolation())
    if (this.#isolation !== READ_COMMITTED)
      return await this.transaction((tx) => this.queryable(tx).query(text, values, options), { beginsWithQuery: true })
    return await this.#alone(async (checkout) => {
      if (options?.name !== undefined) await checkout.lookBehind()
      return await checkout.query(text, values, options)
    })
  }

  guard(tx: Client, admit: Admit = refuseControl): Guarded<Client> {
    const checkout = this.#checkouts.get(tx)
    const guarded = guard(tx, checkout ?? new Loose(tx), admit)
    if (checkout) this.#checkouts.set(guarded.tx, checkout)
    return guarded
  }

  /** Is its connection known to be of no more use? What is committed on it then has an outcome that nobody knows. */
  broken(tx: Client): boolean {
    return this.#checkouts.get(tx)?.broken === true
  }

  async abandon(tx: Client): Promise<void> {
    const checkout = this.#checkouts.get(tx)
    if (!checkout || checkout.released) return
    checkout.abandon()
    if (checkout.pid !== undefined) await terminateBackend(this, checkout.pid, this.#options.deadlineMs)
  }

  async session({ applicationName, url }: SessionOptions): Promise<Session | NoSession> {
    const { deadlineMs } = this.#options
    if (url) return openSession({ connectionString: url }, { applicationName, deadlineMs, sameAs: this })
    return openSession(clientOptionsOf(this.#pool.options), { applicationName, deadlineMs })
  }

  async #alone<Result>(work: (checkout: Checkout<Client>) => Promise<Result>): Promise<Result> {
    const checkout = await this.#checkOut()
    try {
      return await work(checkout)
    } finally {
      checkout.release()
    }
  }

  async #checkOut(): Promise<Checkout<Client>> {
    for (;;) {
      const checkout = new Checkout(await this.#connect(), this.#options)
      if (checkout.idle) return checkout
      checkout.break(new ConnectionLost('pool', 'it came out of the pool inside a transaction'))
      checkout.release()
    }
  }

  async #connect(): Promise<Client> {
    const arriving = this.#pool.connect()
    let late = false
    arriving.then((client) => late && client.release(), ignore)
    try {
      return await answerWithin(this.#options.deadlineMs, arriving, () => (late = true), { holds: false })
    } catch (error) {
      const reason = late
        ? `the pool gave no connection within ${this.#options.deadlineMs} ms`
        : summarise(error).message
      throw new DatabaseUnreachable(serverOf(this.#pool.options), reason, { cause: error })
    }
  }
}

const BEGIN = `begin isolation level ${READ_COMMITTED}`
const COMMIT = 'commit'
const BEGINNING: Prepared = { name: 'posthaste_begin', text: BEGIN, values: [] }
const COMMITMENT: Prepared = { name: 'posthaste_commit', text: COMMIT, values: [] }
const BEGIN_AND_LOOK = `${BEGIN}; select pg_backend_pid() as pid`
const LOOK = 'select pg_backend_pid() as pid'

/** A client of the pool while it is ours. What breaks it is remembered, and then it is destroyed instead of released. */
class Checkout<Client extends PgClient> implements Queryable, Sparing, Asked {
  readonly client: Client
  readonly lane: Lane
  readonly #options: Required<PgDatabaseOptions>
  readonly #types: Types
  readonly #abandoned = Promise.withResolvers<never>()
  #broken: Error | undefined
  /** BEGIN is yet to be sent, with the first of our statements. */
  #unbegun = false
  /** BEGIN was sent, and what came with it has failed: the client still takes the connection for idle. */
  #begunUnseen = false
  #committed = false
  /** What is to be sent before whatever is asked next. */
  #before: readonly Prepared[] = NOTHING
  pid: number | undefined
  /** The work is done: what it left behind may not slip in after COMMIT. */
  ended = false
  released = false

  constructor(client: Client, options: Required<PgDatabaseOptions>) {
    this.client = client
    this.lane = partsOf(client).pipeline ? PIPELINE : new Lane()
    this.#options = options
    this.#types = ownTypes(partsOf(client))
    this.#abandoned.promise.catch(ignore)
    partsOf(client).on('error', this.break)
    this.pid = pidOf(client)
  }

  get session(): object | undefined {
    return this.#options.prepare && isDirect(this.client) ? this.client : undefined
  }

  get broken(): boolean {
    return this.#broken !== undefined
  }

  get idle(): boolean {
    return (this.#status ?? 'I') === 'I'
  }

  /** Now, or together with the first of our statements: then nothing else may come before it. */
  async begin(withFirst: boolean): Promise<void> {
    if (withFirst && this.#sendsVolleys) this.#unbegun = true
    else if (this.pid !== undefined) await this.#ask({ text: BEGIN })
    else this.#learn((await this.#ask({ text: BEGIN_AND_LOOK }))[1])
  }

  /** A session's own statements may be prepared; a pooler's would turn up in another session. */
  async lookBehind(): Promise<void> {
    if (this.pid === undefined) this.#learn(await this.#ask({ text: LOOK }))
  }

  async isolation(): Promise<string> {
    return (await this.#ask({ text: DEFAULT_ISOLATION })).rows[0].isolation
  }

  query(text: string, values: readonly unknown[], options?: StatementOptions): Promise<{ rows: Row[] }> {
    const name = this.#nameOf(text, options)
    if (this.#unbegun) return this.#begunWith({ text, values, name }, options)
    // what the driver's own query has brought outlives two rounds of collecting, a volley's goes with the next
    if (name !== undefined && this.#sendsVolleys && values.every(isPlain))
      return this.#volley([{ text, values, name }], options)
    return this.#ask({ text, values: [...values], name })
  }

  async #begunWith({ text, values, name }: Unsent, options?: StatementOptions): Promise<{ rows: Row[] }> {
    this.#unbegun = false
    if (name !== undefined) {
      this.#begunUnseen = true
      const answer = await this.#volley([BEGINNING, { text, values, name }], options)
      this.#begunUnseen = false
      return answer
    }
    await this.#ask({ text: BEGIN })
    return await this.#ask({ text, values: [...values] })
  }

  async queryAndCommit(text: string, values: readonly unknown[], options?: StatementOptions): Promise<{ rows: Row[] }> {
    const name = this.#nameOf(text, options)
    if (name === undefined || !this.#sendsVolleys) return await this.query(text, values, options)
    this.ended = true
    const { rows, commands } = await this.#volley([{ text, values, name }, COMMITMENT], options).catch((error) => {
      throw isRefusal(error) ? error : new CommitUnknown({ cause: error })
    })
    this.#expectCommit(commands.at(-1))
    return { rows }
  }

  precede(statements: readonly string[]): boolean {
    if (!this.#sendsVolleys || this.#unbegun) return false
    this.#before = statements.map((text) => ({ name: nameOf(text, 'control') ?? '', text, values: [] }))
    return true
  }

  recall(): boolean {
    if (this.#before.length === 0 || !this.lane.idle) return false
    this.#before = NOTHING
    return true
  }

  get sound(): boolean {
    const { readyForQuery } = partsOf(this.client)
    return this.#before.length === 0 && this.lane.idle && readyForQuery === true && this.#status === 'T'
  }

  ask(config: unknown, ...rest: unknown[]): Promise<Answer> {
    const before = this.#taken()
    if (before.length === 0) return queryOf(this.client)(config, ...rest)
    const preceded = Preceded.of(this.client, before, config, rest[0])
    if (!preceded) return this.#askAfter(before, config, rest)
    void this.client.query(preceded)
    return preceded.answer
  }

  open(portal: object, ...rest: unknown[]): unknown {
    const before = this.#taken()
    if (portal instanceof Volley) portal.follow(before)
    else if (before.length > 0) void this.lane.run(() => this.client.query(textOfAll(before))).catch(ignore)
    return queryOf(this.client)(portal, ...rest)
  }

  async #askAfter(before: readonly Prepared[], config: unknown, rest: readonly unknown[]): Promise<Answer> {
    await this.client.query(textOfAll(before))
    return await queryOf(this.client)(config, ...rest)
  }

  #taken(): readonly Prepared[] {
    const before = this.#before
    this.#before = NOTHING
    return before
  }

  async lend<Result>(work: (client: Client) => Promise<Result>): Promise<Result> {
    try {
      return await Promise.race([(async () => work(this.client))(), this.#abandoned.promise])
    } finally {
      this.ended = true
    }
  }

  async commit(): Promise<void> {
    if (this.#committed || this.#unbegun) return
    const { command } = await this.#ask({ text: COMMIT }).catch((error) => {
      throw isRefusal(error) ? error : new CommitUnknown({ cause: error })
    })
    this.#expectCommit(command)
  }

  #expectCommit(command: string | undefined): void {
    if (command !== 'COMMIT') throw new TransactionRolledBack()
    this.#committed = true
  }

  /** Never throws: the error that led here is the one to tell. */
  async rollBack(reason: unknown): Promise<void> {
    if (isStale(reason)) this.break(reason as Error)
    if (this.#broken) return
    this.#before = NOTHING
    try {
      if (this.#begunUnseen || this.#status !== 'I') await this.#ask({ text: 'rollback' })
    } catch (error) {
      this.break(error as Error)
    }
  }

  abandon(): void {
    const over = new TransactionOver()
    this.#abandoned.reject(over)
    this.break(over)
    this.release()
  }

  readonly break = (error: Error): void => {
    if (this.#broken) return
    this.#broken = error
    partsOf(this.client).connection?.stream?.destroy()
  }

  release(): void {
    if (this.released) return
    this.released = true
    if (!this.idle) this.break(new ConnectionLost('transaction', 'it was still open'))
    this.client.release(this.#broken)
    if (!this.#broken) partsOf(this.client).off('error', this.break) // one that is thrown away may still complain
  }

  get #status() {
    return partsOf(this.client).getTransactionStatus?.()
  }

  // The deadline counts from here, whatever else the connection has to do first.
  #ask(config: Statement): Promise<Answer> {
    return answerWithin(
      this.#options.deadlineMs,
      this.lane.run(() => this.#sent(() => this.ask({ ...config, types: this.#types }))),
      this.break,
    )
  }

  #volley(statements: readonly Prepared[], options?: StatementOptions): Promise<VolleyAnswer> {
    return answerWithin(
      this.#options.deadlineMs,
      this.lane.run(() => this.#sent(() => Volley.send(this.client, [...this.#taken(), ...statements], options))),
      this.break,
    )
  }

  get #sendsVolleys(): boolean {
    return this.pid !== undefined && this.session !== undefined && Volley.fits(this.client)
  }

  async #sent(send: () => Promise<Answer>): Promise<Answer> {
    if (this.#broken) throw this.#broken
    try {
      return await send()
    } catch (error) {
      if (condemns(error)) this.break(error as Error)
      throw error
    }
  }

  #learn(answer: Answer): void {
    this.pid = Number(answer.rows[0]?.pid)
    answeredBy(this.client, this.pid)
  }

  #nameOf(text: string, options: StatementOptions | undefined): string | undefined {
    return options?.name === undefined || this.session === undefined ? undefined : nameOf(text, options.name)
  }
}

interface Statement {
  readonly text: string
  readonly values?: unknown[]
  readonly name?: string | undefined
}

interface Unsent {
  readonly text: string
  readonly values: readonly unknown[]
  readonly name: string | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: pg answers a text of several statements with an array
type Answer = any

const NOTHING: readonly Prepared[] = Object.freeze([])

function textOfAll(statements: readonly Prepared[]): string {
  return statements.map(({ text }) => text).join('; ')
}

function queryOf(client: PgClient): (...parameters: unknown[]) => Promise<Answer> {
  return client.query.bind(client) as (...parameters: unknown[]) => Promise<Answer>
}

// A pipelined client keeps its own order, and sends without waiting.
const PIPELINE = { run: <Sent>(send: () => Promise<Sent>) => send() } as Lane

const LENT = new Set<PropertyKey>(['release', 'end', 'connect'])

/** Sees each statement before it is sent: throws for one that may not be, and has the answer of one that need not be. */
export type Admit = (text: string) => object | undefined

function refuseControl(text: string): undefined {
  refuseTransactionControl(text)
}

/** How a handler's statements reach the connection. */
interface Asked {
  readonly lane: Lane
  readonly ended: boolean
  ask(config: unknown, ...rest: unknown[]): Promise<Answer>
  /** For what submits itself: cursors, streams. */
  open(portal: object, ...rest: unknown[]): unknown
}

/** A client that is not checked out here. */
class Loose implements Asked {
  readonly lane = new Lane()
  readonly ended = false
  readonly ask: Asked['ask']
  readonly open: Asked['open']

  constructor(client: PgClient) {
    this.ask = queryOf(client)
    this.open = this.ask
  }
}

function guard<Client extends PgClient>(client: Client, asked: Asked, admit: Admit): Guarded<Client> {
  let over = false
  const check = (config: unknown) => {
    if (over || asked.ended) throw new TransactionOver()
    return admit(textOf(config))
  }
  const query = guardedQuery(asked, check)
  const tx = new Proxy(client, {
    get(target, key) {
      if (key === 'query') return query
      if (LENT.has(key)) return refuse(key)
      const value = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { tx, revoke: () => (over = true) }
}

type PgCallback = (error: unknown, result?: unknown) => void

// pg's own three ways: a promise, a callback, and a thing that submits itself (cursors, streams).
function guardedQuery(asked: Asked, check: (config: unknown) => object | undefined) {
  return (config: unknown, ...rest: unknown[]): unknown => {
    if (config instanceof Volley) {
      const answer = asked.lane.run(async () => {
        check(config)
        asked.open(config)
        await config.answer
      })
      answer.catch((error) => config.handleError(error))
      return config
    }
    if (submitsItself(config)) {
      check(config)
      return asked.open(config, ...rest)
    }
    const callback = typeof rest.at(-1) === 'function' ? (rest.pop() as PgCallback) : undefined
    const answer = asked.lane.run(async () => check(config) ?? asked.ask(config, ...rest))
    if (!callback) {
      // Not waited for, it may be refused long after the handler is done: that is no reason for the process to end.
      answer.catch(ignore)
      return answer
    }
    answer.then(
      (result) => process.nextTick(callback, undefined, result),
      (error) => process.nextTick(callback, error),
    )
    return undefined
  }
}

function submitsItself(config: unknown): config is object {
  return typeof (config as { submit?: unknown } | null)?.submit === 'function'
}

function textOf(config: unknown): string {
  const text = typeof config === 'string' ? config : (config as { text?: unknown } | null)?.text
  return typeof text === 'string' ? text : ''
}

function refuse(key: PropertyKey) {
  return () => {
    throw new TransactionControlRefused(String(key))
  }
}
