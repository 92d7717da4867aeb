import { CamelCasePlugin, Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import pg from 'pg'
import type { Subject } from '../subject.ts'

interface Shop {
  orders: { id: string }
}

export const subject: Subject<Transaction<Shop>> = {
  name: 'Kysely',
  async open(url) {
    const pool = new pg.Pool({ connectionString: url })
    const db = new Kysely<Shop>({ dialect: new PostgresDialect({ pool }), plugins: [new CamelCasePlugin()] })
    return {
      transaction: (work) => db.transaction().execute(work),
      insert: (tx, id) => tx.insertInto('orders').values({ id }).execute(),
      fail: (tx) => sql`select 1 / 0`.execute(tx),
      pools: [[db, 'db.transaction()']],
      [Symbol.asyncDispose]: () => db.destroy(),
    }
  },
}
