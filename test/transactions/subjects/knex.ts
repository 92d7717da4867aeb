import knexOf, { type Knex } from 'knex'
import type { Subject } from '../subject.ts'

export const subject: Subject<Knex.Transaction> = {
  name: 'Knex',
  async open(url) {
    const knex = knexOf({ client: 'pg', connection: url })
    return {
      transaction: (work) => knex.transaction(work),
      insert: (trx, id) => trx('orders').insert({ id }),
      fail: (trx) => trx.raw('select 1 / 0'),
      pools: [[knex, 'knex.transaction(']],
      [Symbol.asyncDispose]: () => knex.destroy(),
    }
  },
}
