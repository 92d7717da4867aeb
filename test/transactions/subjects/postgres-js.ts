import postgres from 'postgres'
import type { Subject } from '../subject.ts'

export const subject: Subject<postgres.TransactionSql> = {
  name: 'postgres.js',
  handleIsConnection: true,
  async open(url) {
    const sql = postgres(url, { onnotice: () => {} })
    const reserved = await sql.reserve()
    return {
      transaction: (work) => sql.begin(work),
      insert: (tx, id) => tx`insert into orders values (${id})`,
      fail: (tx) => tx`select 1 / 0`.then(),
      pools: [
        [sql, 'sql.begin('],
        [reserved, 'sql.begin('],
      ],
      async [Symbol.asyncDispose]() {
        reserved.release()
        await sql.end()
      },
    }
  },
}
