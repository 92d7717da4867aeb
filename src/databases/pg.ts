import type { PgClient, PgPool } from '../database/pool.ts'
import { type PgDatabaseOptions, PoolDatabase, parsePgDatabaseOptions } from '../database/pool-database.ts'
import type { Database } from '../database.ts'

export type { PgClient, PgDatabaseOptions, PgPool }

/**
 * Your `pg` pool as Posthaste's database; transactions are the pool's own clients.
 *
 * A pool without a listener for `error` is given one, so that an idle connection that dies does not end your process.
 *
 * ```ts
 * const posthaste = new Posthaste({ database: pgDatabase(new pg.Pool({ connectionString })), topology })
 * ```
 */
export function pgDatabase<Client extends PgClient>(
  pool: PgPool<Client>,
  options: PgDatabaseOptions = {},
): Database<Client> {
  return new PoolDatabase('pg', pool, parsePgDatabaseOptions(options))
}
