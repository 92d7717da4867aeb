import { ConnectionLost, TransactionAborted, TransactionRequired } from '../errors.ts'
import type { Queryable, Row } from '../postgres/queryable.ts'
import { hasCode, isAborted, isConnectionLoss, summarise } from '../rules/error-summary.ts'

/** A library as `recognise` sees it: how its handles are told from others, and how a statement gets into its transaction. */
export interface Library {
  /** Is it one of this library's handles, in a transaction or not? */
  knows(handle: object): boolean
  /** The way into the transaction; a `TransactionRequired` or `TransactionAborted` when the handle is in none that can commit. */
  open(handle: never): Queryable | Promise<Queryable>
  /** Does the library not say whether its transaction is over? Then the server is asked. */
  silent?(handle: never): boolean
}

/** A method of a handle, whatever else it is; some handles are functions. */
export function has(handle: unknown, method: string): boolean {
  if (handle === null || (typeof handle !== 'object' && typeof handle !== 'function')) return false
  return typeof (handle as Record<string, unknown>)[method] === 'function'
}

export type Answer = { readonly rows: unknown[]; readonly rowCount?: number | null } | unknown[]

export type Send = (text: string, values: readonly unknown[], name: string | undefined) => PromiseLike<Answer>

/** Our statements through a library, and its errors in our words: aborted, over, lost. */
export function through(kind: string, send: Send): Queryable {
  return {
    async query(text, values, options) {
      try {
        const answer = await send(text, values, options?.name)
        return (Array.isArray(answer) ? { rows: answer } : answer) as { rows: Row[] }
      } catch (error) {
        throw inOurWords(kind, error)
      }
    },
  }
}

function inOurWords(kind: string, error: unknown): unknown {
  if (isAborted(error)) return new TransactionAborted(kind, { cause: error })
  if (isOver(error)) return new TransactionRequired(kind, 'it is over; publish before it ends', { cause: error })
  if (isConnectionLoss(error) && !hasCode(error, 'CONNECTION_LOST')) {
    return new ConnectionLost(kind, summarise(error).message, { cause: error })
  }
  return error
}

// The words of Kysely, Knex, pg-promise, Slonik and Prisma for a transaction that its callback outlived.
const OVER =
  /^Transaction is already (committed|rolled back)$|Transaction query already complete|Querying against a released or lost connection|using parent transaction|Transaction already closed|Transaction API error/

function isOver(error: unknown): boolean {
  return hasCode(error, 'P2028') || (error instanceof Error && OVER.test(error.message))
}

/** What a handle is called in an error. */
export function kindOf(handle: unknown): string {
  if (handle === null || (typeof handle !== 'object' && typeof handle !== 'function'))
    return String(handle).slice(0, 40)
  const name = (handle as { constructor?: { name?: unknown } }).constructor?.name
  return typeof name === 'string' && name !== '' ? name : typeof handle
}
