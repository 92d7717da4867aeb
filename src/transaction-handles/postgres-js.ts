import { TransactionRequired } from '../errors.ts'
import { type Answer, has, type Library, through } from './library.ts'

/** The `sql` that postgres.js and Bun give to the callback of `begin`; the `sql` outside is none. */
export interface PostgresJsTransactionHandle {
  // biome-ignore lint/suspicious/noExplicitAny: parameters of whatever types it knows
  unsafe(text: string, parameters?: any): PromiseLike<unknown>
  // biome-ignore lint/suspicious/noExplicitAny: its overloads are of no concern
  savepoint(...parameters: any[]): unknown
}

// It says nothing when it is over, and goes on to run statements on a connection that is somebody else's by then.
export const postgresJs: Library = {
  knows: (handle) => has(handle, 'unsafe'),
  open(sql: PostgresJsTransactionHandle) {
    if (!has(sql, 'savepoint')) throw new TransactionRequired('sql', 'pass the sql of sql.begin(async (sql) => …)')
    return through('sql', (text, values) => sql.unsafe(text, [...values]) as PromiseLike<Answer>)
  },
  silent: () => true,
}
