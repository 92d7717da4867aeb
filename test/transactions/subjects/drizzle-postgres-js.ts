import { sql } from 'drizzle-orm'
import { pgTable, text } from 'drizzle-orm/pg-core'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import type { Subject } from '../subject.ts'

const orders = pgTable('orders', { id: text().primaryKey() })

type Tx = Parameters<Parameters<PostgresJsDatabase['transaction']>[0]>[0]

export const subject: Subject<Tx> = {
  name: 'Drizzle on postgres.js',
  handleIsConnection: true,
  async open(url) {
    const client = postgres(url, { onnotice: () => {} })
    const db = drizzle({ client })
    return {
      transaction: (work) => db.transaction(work),
      insert: (tx, id) => tx.insert(orders).values({ id }),
      fail: (tx) => tx.execute(sql`select 1 / 0`),
      pools: [
        [db, 'db.transaction('],
        [db.$client, 'sql.begin('],
      ],
      [Symbol.asyncDispose]: () => client.end(),
    }
  },
}
