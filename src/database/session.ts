import { randomInt } from 'node:crypto'
import type { NoSession, Session, SessionOptions, SessionStatementOptions } from '../database.ts'
import { ConnectionLost, DatabaseUnreachable } from '../errors.ts'
import { withPeer } from '../machinery/peer.ts'
import type { Queryable, Row } from '../postgres/queryable.ts'
import { summarise } from '../rules/error-summary.ts'
import { answerWithin } from './deadline.ts'
import { condemns } from './fault.ts'
import { Lane } from './lane.ts'
import { type ClientParts, serverOf } from './pool.ts'
import { ownTypes, type Types } from './types.ts'

export type ClientOptions = Record<string, unknown>

interface SessionClient extends ClientParts {
  connect(): Promise<unknown>
  query(config: { text: string; values: unknown[] }): Promise<{ rows: Row[] }>
  end(): Promise<void>
}

interface Opening extends Pick<SessionOptions, 'applicationName'> {
  readonly deadlineMs: number
  /** Asked whether both lead to the same database, when the options are not the pool's own. */
  readonly sameAs?: Queryable
}

const CONNECT_MS = 10_000
const GOODBYE_MS = 1_000

const POOLED =
  'the connection goes through a pooler, which keeps no session: pass listenUrl, a connection string of the server itself'
const ELSEWHERE =
  'its connection string leads to another database than the pool: pass one of the same server and database'

// A wait for a lock has no end by design; whoever waits and is killed is to be noticed; a setting the server does not know is none.
const SETTINGS = `
select set_config(name, case name when 'application_name' then $1 when 'client_connection_check_interval' then $2 else '0' end, false)
from pg_settings
where name in ('application_name', 'statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout', 'client_connection_check_interval')`

/** The options of a pool for one more connection like its own; a pool hides its password from enumeration. */
export function clientOptionsOf(poolOptions: object | undefined): ClientOptions {
  return { ...poolOptions, password: (poolOptions as { password?: unknown } | undefined)?.password }
}

/** The server process is its own: what listens, waits for locks and is told by its pid. */
export async function openSession(options: ClientOptions, opening: Opening): Promise<Session | NoSession> {
  const client = await connect(options)
  const session = new PgSession(client, opening.deadlineMs)
  try {
    const unavailable = await objection(session, client, opening)
    if (unavailable === undefined) return session
    await session.close()
    return { unavailable }
  } catch (error) {
    await session.close()
    throw error
  }
}

async function objection(session: PgSession, client: SessionClient, opening: Opening): Promise<string | undefined> {
  const { rows } = await session.query('select pg_backend_pid() as pid', [])
  if (Number(rows[0]?.pid) !== client.processID) return POOLED
  if (opening.sameAs && !(await areOne(session, opening.sameAs))) return ELSEWHERE
  await settle(session, opening.applicationName)
  return undefined
}

async function connect(options: ClientOptions): Promise<SessionClient> {
  const { default: pg } = await withPeer('pg', () => import('pg'))
  const client = new pg.Client({
    connectionTimeoutMillis: CONNECT_MS,
    ...options,
    types: ownTypes((options.types ?? pg.types) as Types),
    keepAlive: true,
    keepAliveInitialDelayMillis: CONNECT_MS,
    pipeline: false,
    query_timeout: undefined,
  }) as unknown as SessionClient
  client.on('error', () => {})
  try {
    await client.connect()
    return client
  } catch (error) {
    client.connection?.stream?.destroy()
    throw new DatabaseUnreachable(serverOf(options), summarise(error).message, { cause: error })
  }
}

async function settle(session: Session, applicationName: string): Promise<void> {
  const apply = (checkInterval: string) => session.query(SETTINGS, [applicationName, checkInterval])
  // Not every system can watch a connection; there the server refuses the setting.
  await apply('250').catch(() => apply('0'))
}

// A lock taken through one connection and seen through the other, under the same process: nothing but the same database can do that.
async function areOne(session: Session, other: Queryable): Promise<boolean> {
  const key = randomInt(2 ** 31)
  await session.query('select pg_advisory_lock_shared($1::int, $2::int)', [key, session.pid])
  try {
    const { rows } = await other.query(SEEN, [session.pid, key, session.pid])
    return rows.length > 0
  } finally {
    await session.query('select pg_advisory_unlock_shared($1::int, $2::int)', [key, session.pid])
  }
}

const SEEN = `
select pid
from pg_locks
where locktype = 'advisory' and objsubid = 2 and granted and pid = $1::int
  and classid::bigint = $2::bigint and objid::bigint = $3::bigint
  and database = (select oid from pg_database where datname = current_database())`

class PgSession implements Session {
  readonly #client: SessionClient
  readonly #deadlineMs: number
  readonly #lane = new Lane()
  readonly #lost = Promise.withResolvers<never>()
  readonly #onLost: ((error: Error) => void)[] = []
  #gone: Error | undefined
  #goodbye: Promise<void> | undefined
  #closing = false

  constructor(client: SessionClient, deadlineMs: number) {
    this.#client = client
    this.#deadlineMs = deadlineMs
    this.#lost.promise.catch(() => {})
    client.on('error', (error: Error) => this.#lose(error))
    client.on('end', () => this.#lose(new Error('the server closed it')))
  }

  get pid(): number {
    return Number(this.#client.processID)
  }

  query(
    text: string,
    values: readonly unknown[],
    { deadlineMs = this.#deadlineMs }: SessionStatementOptions = {},
  ): Promise<{ rows: Row[] }> {
    return this.#lane.run(() => this.#send(text, values, deadlineMs))
  }

  onNotification(callback: (channel: string) => void): void {
    this.#client.on('notification', ({ channel }: { channel: string }) => callback(channel))
  }

  onLost(callback: (error: Error) => void): void {
    if (this.#closing) return
    if (this.#gone) callback(this.#gone)
    else this.#onLost.push(callback)
  }

  close(): Promise<void> {
    this.#closing = true
    this.#goodbye ??= this.#sayGoodbye()
    return this.#goodbye
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #send(text: string, values: readonly unknown[], deadlineMs: number | null): Promise<{ rows: Row[] }> {
    if (this.#gone) throw this.#gone
    const answer = Promise.race([this.#client.query({ text, values: [...values] }), this.#lost.promise])
    try {
      return await answerWithin(deadlineMs, answer, (error) => this.#lose(error))
    } catch (error) {
      if (condemns(error)) this.#lose(error as Error)
      throw error
    }
  }

  #lose(cause: Error): void {
    if (this.#gone) return
    this.#gone = new ConnectionLost('session', cause.message, { cause })
    this.#lost.reject(this.#gone)
    this.#client.connection?.stream?.destroy()
    if (!this.#closing) for (const callback of this.#onLost) callback(this.#gone)
  }

  // pg ends a connection that waits for an answer at once.
  async #sayGoodbye(): Promise<void> {
    if (!this.#gone) await answerWithin(GOODBYE_MS, this.#client.end()).catch(() => {})
    this.#lose(new Error('it was closed'))
  }
}
