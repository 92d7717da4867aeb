import { createPool, type DatabaseTransactionConnection, sql } from 'slonik'
import type { Subject } from '../subject.ts'

export const subject: Subject<DatabaseTransactionConnection> = {
  name: 'Slonik',
  async open(url) {
    const pool = await createPool(url, { queryRetryLimit: 0, transactionRetryLimit: 0 })
    return {
      transaction: (work) => pool.transaction(work),
      insert: (tx, id) => tx.query(sql.unsafe`insert into orders values (${id})`),
      fail: (tx) => tx.query(sql.unsafe`select 1 / 0`),
      pools: [[pool, 'pool.transaction(']],
      [Symbol.asyncDispose]: () => pool.end(),
    }
  },
}
