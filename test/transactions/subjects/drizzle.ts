import { sql } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import { pgTable, text } from 'drizzle-orm/pg-core'
import pg from 'pg'
import type { Subject } from '../subject.ts'

export const orders = pgTable('orders', { id: text().primaryKey() })

type Tx = Parameters<Parameters<NodePgDatabase['transaction']>[0]>[0]

export const subject: Subject<Tx> = {
  name: 'Drizzle on node-postgres',
  handleIsConnection: true,
  async open(url) {
    const pool = new pg.Pool({ connectionString: url })
    const db = drizzle({ client: pool })
    return {
      transaction: (work) => db.transaction(work),
      insert: (tx, id) => tx.insert(orders).values({ id }),
      fail: (tx) => tx.execute(sql`select 1 / 0`),
      pools: [
        [db, 'db.transaction('],
        [db.$client, 'pool.connect()'],
      ],
      [Symbol.asyncDispose]: () => pool.end(),
    }
  },
}
