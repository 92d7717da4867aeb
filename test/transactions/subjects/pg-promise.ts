import pgPromise, { type ITask } from 'pg-promise'
import type { Subject } from '../subject.ts'

const pgp = pgPromise()

export const subject: Subject<ITask<object>> = {
  name: 'pg-promise',
  async open(url) {
    const db = pgp({ connectionString: url })
    const connection = await db.connect()
    return {
      transaction: (work) => db.tx(work),
      insert: (t, id) => t.none('insert into orders values ($1)', [id]),
      fail: (t) => t.one('select 1 / 0'),
      pools: [
        [db, 'db.tx('],
        [db.$pool, 'pool.connect()'],
        [connection, 'db.tx('],
      ],
      async [Symbol.asyncDispose]() {
        await connection.done()
        await db.$pool.end()
      },
    }
  },
}
