import { randomUUID } from 'node:crypto'
import { kyselyStatement } from './database/kysely-statement.ts'
import { answeredBy, isDirect, mistrust, nameOf } from './database/prepared.ts'
import { TransactionAborted, TransactionRequired } from './errors.ts'
import type { Queryable, Row } from './postgres/queryable.ts'
import { hasCode } from './rules/error-summary.ts'

/** A `pg` client after BEGIN. A `pg.Pool` is none: each of its statements may run on another connection. */
export interface PgTransactionHandle {
  query(text: string, values: unknown[]): Promise<{ rows: Row[] }>
  getTransactionStatus(): string | null
}

/** Kysely's `tx`, controlled or not; `db` is none. */
export interface KyselyTransactionHandle {
  readonly isTransaction: true
  // biome-ignore lint/suspicious/noExplicitAny: a compiled query of whatever Kysely it is
  executeQuery(query: any): Promise<{ rows: unknown[] }>
}

/** Anything else that runs a text with values in the transaction it stands for, and gives the rows. */
export interface BareTransactionHandle {
  query(text: string, values: unknown[]): Promise<{ rows: Row[] } | Row[]>
  // A pool, a client that can say more, and our own Database.
  readonly totalCount?: never
  readonly getTransactionStatus?: never
  readonly abandon?: never
}

/** What `publish` takes as your transaction. */
export type AnyTransaction = PgTransactionHandle | KyselyTransactionHandle | BareTransactionHandle

/** Your transaction, ready for our statements. */
export interface Recognised {
  readonly queryable: Queryable
  /**
   * Set for a handle that cannot say whether it is in a transaction: it is in one if, and only if, a statement run through it
   * finds `current_setting('posthaste.probe', true) = proof`.
   */
  readonly proof?: string
}

/**
 * Recognises a transaction by what it can do, and refuses with a `TransactionRequired` or `TransactionAborted` what is none
 * or one that can no longer commit. A statement that finds the transaction aborted throws `TransactionAborted` as well.
 */
export async function recognise(handle: unknown): Promise<Recognised> {
  if (isPool(handle)) throw new TransactionRequired('pg.Pool', PG_ADVICE)
  if (isKysely(handle)) return { queryable: kyselyQueryable(handle) }
  if (isPgClient(handle)) return { queryable: await pgQueryable(handle) }
  if (isBare(handle)) return probe(handle)
  throw new TransactionRequired(
    kindOf(handle),
    'pass a pg client after BEGIN, Kysely’s tx, or an object with query(text, values)',
  )
}

/** The refusal of a handle whose proof did not hold. */
export function outsideOfTransaction(handle: unknown): TransactionRequired {
  return new TransactionRequired(
    kindOf(handle),
    'begin one, and run publish and your own statements through the same connection before COMMIT',
  )
}

const PG_ADVICE = 'pass the client of pool.connect() after BEGIN, and publish before COMMIT'
const KYSELY_ADVICE = 'pass the tx of db.transaction().execute(async (tx) => …)'

interface PgClientHandle extends PgTransactionHandle {
  readonly readyForQuery?: boolean
  readonly _queryable?: boolean
  on(event: 'drain' | 'end', listener: () => void): this
  off(event: 'drain' | 'end', listener: () => void): this
}

function isPool(handle: unknown): boolean {
  return has(handle, 'connect') && (handle as { totalCount?: unknown }).totalCount !== undefined
}

function isPgClient(handle: unknown): handle is PgClientHandle {
  return has(handle, 'query') && has(handle, 'getTransactionStatus')
}

function isBare(handle: unknown): handle is BareTransactionHandle {
  return has(handle, 'query')
}

function isKysely(handle: unknown): handle is { readonly isTransaction?: boolean } & KyselyTransactionHandle {
  return has(handle, 'executeQuery') && 'isTransaction' in (handle as object)
}

function has(handle: unknown, method: string): boolean {
  if (handle === null || (typeof handle !== 'object' && typeof handle !== 'function')) return false
  return typeof (handle as Record<string, unknown>)[method] === 'function'
}

function kyselyQueryable(handle: KyselyTransactionHandle): Queryable {
  const { isTransaction, isCommitted, isRolledBack } = handle as {
    isTransaction: boolean
    isCommitted?: boolean
    isRolledBack?: boolean
  }
  if (!isTransaction) throw new TransactionRequired('Kysely', KYSELY_ADVICE)
  if (isCommitted || isRolledBack)
    throw new TransactionRequired('ControlledTransaction', 'publish before commit() or rollback()')
  const bare = withoutPlugins(handle)
  return queryable('Transaction', (text, values) => bare.executeQuery(kyselyStatement(text, values)))
}

// A plugin of yours, CamelCasePlugin say, is not meant for the columns of our statements.
function withoutPlugins(handle: KyselyTransactionHandle): KyselyTransactionHandle {
  const { withoutPlugins } = handle as { withoutPlugins?: () => KyselyTransactionHandle }
  return withoutPlugins?.call(handle) ?? handle
}

async function pgQueryable(client: PgClientHandle): Promise<Queryable> {
  while (isBusy(client)) await drained(client)
  requireTransaction(client)
  const send: Send = async (text, values, name) => {
    while (isBusy(client)) await drained(client)
    requireTransaction(client)
    if (name !== undefined && isDirect(client))
      return prepared(client, { text, values: [...values], name: nameOf(text, name) })
    const answer = await client.query(text, [...values])
    answeredBy(client, Number(answer.rows[0]?.backend))
    return answer
  }
  return { ...queryable('pg client', send), prepares: isDirect(client) }
}

async function prepared(client: PgClientHandle, statement: object): Promise<Answer> {
  try {
    return await client.query(statement as unknown as string, undefined as unknown as unknown[])
  } catch (error) {
    if (hasCode(error, '26000') || hasCode(error, '0A000')) mistrust(client)
    throw error
  }
}

// The status is that of the last answer, and a BEGIN or COMMIT still under way would change it: look when all is answered.
function isBusy(client: PgClientHandle): boolean {
  return client.readyForQuery === false && client._queryable !== false
}

const draining = new WeakMap<PgClientHandle, Promise<void>>()

function drained(client: PgClientHandle): Promise<void> {
  const known = draining.get(client)
  if (known !== undefined) return known
  const { promise, resolve } = Promise.withResolvers<void>()
  const settle = () => {
    draining.delete(client)
    client.off('drain', settle).off('end', settle)
    resolve()
  }
  client.on('drain', settle).on('end', settle)
  draining.set(client, promise)
  return promise
}

function requireTransaction(client: PgClientHandle): void {
  const status = client.getTransactionStatus()
  if (status === 'E') throw new TransactionAborted('pg client')
  if (status !== 'T') throw new TransactionRequired('pg client', PG_ADVICE)
}

async function probe(handle: BareTransactionHandle): Promise<Recognised> {
  const kind = kindOf(handle)
  const proof = randomUUID()
  const bare = queryable(kind, (text, values) => handle.query(text, [...values]))
  await bare.query(`select set_config('posthaste.probe', $1, true)`, [proof])
  return { queryable: bare, proof }
}

type Answer = { rows: unknown[]; rowCount?: number | null } | unknown[]

type Send = (text: string, values: readonly unknown[], name: string | undefined) => Promise<Answer>

function queryable(kind: string, send: Send): Queryable {
  return {
    async query(text, values, options) {
      try {
        const answer = await send(text, values, options?.name)
        return (Array.isArray(answer) ? { rows: answer } : answer) as { rows: Row[] }
      } catch (error) {
        if (hasCode(error, '25P02')) throw new TransactionAborted(kind, { cause: error })
        throw isOver(error)
          ? new TransactionRequired(kind, 'it is over; publish before it ends', { cause: error })
          : error
      }
    },
  }
}

// Kysely's words for a transaction that its callback outlived.
function isOver(error: unknown): boolean {
  return error instanceof Error && /^Transaction is already (committed|rolled back)$/.test(error.message)
}

function kindOf(handle: unknown): string {
  if (handle === null || (typeof handle !== 'object' && typeof handle !== 'function'))
    return String(handle).slice(0, 40)
  const name = (handle as { constructor?: { name?: unknown } }).constructor?.name
  return typeof name === 'string' && name !== '' ? name : typeof handle
}
