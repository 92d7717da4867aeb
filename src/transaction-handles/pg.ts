import { answeredBy, isDirect, mistrust, nameOf } from '../database/prepared.ts'
import { isPlain, type Prepared, Volley } from '../database/volley.ts'
import { TransactionAborted, TransactionRequired } from '../errors.ts'
import type { Queryable, Row } from '../postgres/queryable.ts'
import { hasCode } from '../rules/error-summary.ts'
import { type Answer, has, type Library, type Send, through } from './library.ts'

/** A `pg` client after BEGIN. A `pg.Pool` is none: each of its statements may run on another connection. */
export interface PgTransactionHandle {
  query(text: string, values: unknown[]): Promise<{ rows: Row[] }>
  getTransactionStatus(): string | null
}

const ADVICE = 'pass the client of pool.connect() after BEGIN, and publish before COMMIT'

export const pgPool: Library = {
  knows: (handle) => has(handle, 'connect') && (handle as { totalCount?: unknown }).totalCount !== undefined,
  open() {
    throw new TransactionRequired('pg.Pool', ADVICE)
  },
}

export const pgClient: Library = {
  knows: (handle) => has(handle, 'query') && has(handle, 'getTransactionStatus'),
  open: (client: Client) => openPgClient(client),
}

interface Client extends PgTransactionHandle {
  readonly readyForQuery?: boolean
  readonly _queryable?: boolean
  on(event: 'drain' | 'end', listener: () => void): this
  off(event: 'drain' | 'end', listener: () => void): this
}

/** As `pgClient.open`, for libraries whose transaction stands on a `pg` client, under their own name and advice. */
export function openPgClient(client: Client, kind = 'pg client', advice = ADVICE): Queryable | Promise<Queryable> {
  if (isBusy(client)) return drained(client).then(() => openPgClient(client, kind, advice))
  requireTransaction(client, kind, advice)
  const known = ways.get(client)
  if (known?.kind === kind) return known.way
  const way = wayInto(client, kind, advice)
  ways.set(client, { kind, way })
  return way
}

// One for a client, whatever transaction it is in: each statement asks anew whether it is in one.
const ways = new WeakMap<Client, { readonly kind: string; readonly way: Queryable }>()

function wayInto(client: Client, kind: string, advice: string): Queryable {
  const send: Send = (text, values, name) => {
    if (isBusy(client)) return drained(client).then(() => send(text, values, name))
    requireTransaction(client, kind, advice)
    const ours = name !== undefined && isDirect(client) ? nameOf(text, name) : undefined
    if (ours !== undefined) return prepared(client, { text, values, name: ours })
    return unprepared(client, text, values)
  }
  return {
    ...through(kind, send),
    get session() {
      return isDirect(client) ? client : undefined
    },
  }
}

async function unprepared(client: Client, text: string, values: readonly unknown[]): Promise<Answer> {
  const answer = await client.query(text, [...values])
  answeredBy(client, Number(answer.rows[0]?.backend))
  return answer
}

function prepared(client: Client, statement: Prepared): Promise<Answer> {
  const ours = Volley.fits(client as never) && statement.values.every(isPlain)
  const answer: Promise<Answer> = ours
    ? Volley.send(client as never, [statement])
    : client.query(statement as unknown as string, undefined as unknown as unknown[])
  answer.catch((error) => {
    if (hasCode(error, '26000') || hasCode(error, '0A000')) mistrust(client)
  })
  return answer
}

// The status is that of the last answer, and a BEGIN or COMMIT still under way would change it: look when all is answered.
function isBusy(client: Client): boolean {
  return client.readyForQuery === false && client._queryable !== false
}

const draining = new WeakMap<Client, Promise<void>>()

function drained(client: Client): Promise<void> {
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

function requireTransaction(client: Client, kind: string, advice: string): void {
  const status = client.getTransactionStatus()
  if (status === 'E') throw new TransactionAborted(kind)
  if (status !== 'T') throw new TransactionRequired(kind, advice)
}
