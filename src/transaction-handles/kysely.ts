import { kyselyStatement } from '../database/kysely-statement.ts'
import { TransactionRequired } from '../errors.ts'
import { has, type Library, through } from './library.ts'

/** Kysely's `tx`, controlled or not; `db` is none. */
export interface KyselyTransactionHandle {
  readonly isTransaction: true
  // biome-ignore lint/suspicious/noExplicitAny: a compiled query of whatever Kysely it is
  executeQuery(query: any): Promise<{ rows: unknown[] }>
}

interface Handle {
  readonly isTransaction: boolean
  readonly isCommitted?: boolean
  readonly isRolledBack?: boolean
  withoutPlugins?(): KyselyTransactionHandle
}

export const kysely: Library = {
  knows: (handle) => has(handle, 'executeQuery') && 'isTransaction' in handle,
  open(handle: Handle & KyselyTransactionHandle) {
    const { isTransaction, isCommitted, isRolledBack } = handle as Handle
    if (!isTransaction)
      throw new TransactionRequired('Kysely', 'pass the tx of db.transaction().execute(async (tx) => …)')
    if (isCommitted || isRolledBack)
      throw new TransactionRequired('ControlledTransaction', 'publish before commit() or rollback()')
    // A plugin of yours, CamelCasePlugin say, is not meant for the columns of our statements.
    const bare = handle.withoutPlugins?.() ?? handle
    return through('Transaction', (text, values) => bare.executeQuery(kyselyStatement(text, values)))
  },
}
