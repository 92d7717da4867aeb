import { TransactionRequired } from '../errors.ts'
import { type Answer, has, type Library, through } from './library.ts'

/** pg-promise's `t` of `db.tx`; `db`, and the `t` of a task, are none. */
export interface PgPromiseTransactionHandle {
  // biome-ignore lint/suspicious/noExplicitAny: a query of whatever kind it knows
  result(query: any): Promise<{ readonly rows: any[] }>
  // biome-ignore lint/suspicious/noExplicitAny: a query of whatever kind it knows
  oneOrNone(query: any): Promise<any>
  readonly ctx: { readonly isTX: boolean }
}

interface Handle extends PgPromiseTransactionHandle {
  readonly ctx: { readonly isTX: boolean; readonly inTransaction?: boolean }
}

export const pgPromise: Library = {
  knows: (handle) => has(handle, 'oneOrNone') && has(handle, 'result'),
  open(t: Handle) {
    if (!t.ctx?.isTX && !t.ctx?.inTransaction)
      throw new TransactionRequired('pg-promise', 'pass the t of db.tx(async (t) => …)')
    return through(
      'pg-promise transaction',
      (text, values) => t.result({ text, values: [...values] }) as Promise<Answer>,
    )
  },
}
