import { TransactionRequired } from '../errors.ts'
import { has, type Library, through } from './library.ts'

/** Knex's `trx`; `knex` is none. */
export interface KnexTransactionHandle {
  isCompleted(): boolean
  // biome-ignore lint/suspicious/noExplicitAny: bindings of whatever types it knows
  raw(text: string, bindings: any): PromiseLike<any>
}

interface Handle extends KnexTransactionHandle {
  readonly isTransaction?: boolean
}

export const knex: Library = {
  knows: (handle) => has(handle, 'raw') && has(handle, 'transactionProvider'),
  open(trx: Handle) {
    if (!trx.isTransaction) throw new TransactionRequired('Knex', 'pass the trx of knex.transaction(async (trx) => …)')
    if (trx.isCompleted()) throw new TransactionRequired('Knex transaction', 'it is over; publish before it ends')
    return through('Knex transaction', (text, values) => {
      const { sql, bindings } = positional(text, values)
      return trx.raw(sql, bindings)
    })
  },
}

/** `$1` may stand anywhere and more than once; `?` stands for one value after the other. */
function positional(text: string, values: readonly unknown[]): { sql: string; bindings: unknown[] } {
  const bindings: unknown[] = []
  const sql = text.replaceAll('?', '\\?').replace(/\$(\d+)/g, (_, number: string) => {
    bindings.push(values[Number(number) - 1])
    return '?'
  })
  return { sql, bindings }
}
