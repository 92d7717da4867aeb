import pg from 'pg'
import type { Subject } from '../subject.ts'

export const subject: Subject<pg.PoolClient> = {
  name: 'pg',
  handleIsConnection: true,
  async open(url) {
    const pool = new pg.Pool({ connectionString: url })
    const client = await pool.connect()
    return {
      async transaction(work) {
        const tx = await pool.connect()
        try {
          await tx.query('begin')
          const result = await work(tx)
          await tx.query('commit')
          return result
        } catch (error) {
          await tx.query('rollback')
          throw error
        } finally {
          tx.release()
        }
      },
      insert: (tx, id) => tx.query('insert into orders values ($1)', [id]),
      fail: (tx) => tx.query('select 1 / 0'),
      pools: [
        [pool, 'pool.connect()'],
        [client, 'after BEGIN'],
      ],
      async [Symbol.asyncDispose]() {
        client.release()
        await pool.end()
      },
    }
  },
}
