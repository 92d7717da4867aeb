import { TransactionRequired } from '../errors.ts'
import type { Queryable } from '../postgres/queryable.ts'
import { knex } from './knex.ts'
import { kysely } from './kysely.ts'
import { has, type Library } from './library.ts'

/** MikroORM's `EntityManager` inside `transactional` or after `begin`; outside it is none. */
export interface MikroOrmTransactionHandle {
  getTransactionContext(): unknown
}

export const mikroOrm: Library = {
  knows: (handle) => has(handle, 'getTransactionContext'),
  open(em: MikroOrmTransactionHandle): Queryable | Promise<Queryable> {
    const context = em.getTransactionContext()
    // A Kysely transaction since version 7, a Knex one before.
    const library = [kysely, knex].find(({ knows }) => context !== undefined && knows(context as object))
    if (!library) throw new TransactionRequired('EntityManager', 'pass the em of em.transactional(async (em) => …)')
    return library.open(context as never)
  },
}
