import { TransactionRequired } from '../errors.ts'
import { has, type Library, through } from './library.ts'

/** Slonik's transaction; its pool, and a connection of it, are none. */
export interface SlonikTransactionHandle {
  // biome-ignore lint/suspicious/noExplicitAny: a query token of Slonik's
  oneFirst(token: any): Promise<any>
  // biome-ignore lint/suspicious/noExplicitAny: a query token of Slonik's
  anyFirst(token: any): Promise<any>
  readonly state?: never
  readonly end?: never
}

interface Handle extends SlonikTransactionHandle {
  query(token: object): Promise<{ readonly rows: readonly unknown[] }>
}

const TOKEN = Symbol.for('SLONIK_TOKEN_QUERY')

// One that is over would run on a connection that is somebody else's by then: so the server is asked.
export const slonik: Library = {
  knows: (handle) => has(handle, 'oneFirst') && has(handle, 'anyFirst'),
  open(t: Handle) {
    if (!('transactionId' in t))
      throw new TransactionRequired('Slonik', 'pass the connection of pool.transaction(async (connection) => …)')
    return through('Slonik transaction', async (sql, values) => {
      const { rows } = await t.query(Object.freeze({ type: TOKEN, sql, values: [...values], parser: PARSER }))
      return [...rows]
    })
  },
  silent: () => true,
}

// Whatever interceptor validates rows: ours are taken as they are.
const PARSER = {
  '~standard': { version: 1, vendor: 'posthaste', validate: (value: unknown) => ({ value }) },
  parse: (value: unknown) => value,
  safeParse: (data: unknown) => ({ success: true, data }),
  safeParseAsync: async (data: unknown) => ({ success: true, data }),
}
