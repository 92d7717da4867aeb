/**
 * Knex’s database as Posthaste's, so that handlers get its transactions.
 *
 * @module posthaste/knex
 */

import { LibraryDatabase } from '../database/library-database.ts'
import type { PgClient, PgPool } from '../database/pool.ts'
import type { PgDatabaseOptions } from '../database/pool-database.ts'
import type { Database } from '../database.ts'

/** How `knexDatabase` uses its connections; every field has a default. */
export interface KnexDatabaseOptions extends PgDatabaseOptions {}

/** What is asked of a Knex. */
export interface KnexOnPg {
  // biome-ignore lint/suspicious/noExplicitAny: it is not typed
  readonly client: any
  // biome-ignore lint/suspicious/noExplicitAny: its overloads are its own
  transaction(...parameters: any[]): Promise<any>
}

/** The `trx` of a Knex. */
export type KnexTransaction<Knex> = Knex extends {
  transaction(work: (trx: infer Trx) => unknown, ...rest: never[]): unknown
}
  ? Trx & object
  : never

/**
 * Your Knex as Posthaste's database; transactions are Knex's own, and so are handlers' `trx`. Its client must be `pg`.
 *
 * ```ts
 * const knex = Knex({ client: 'pg', connection: connectionString })
 * const posthaste = new Posthaste({ database: knexDatabase(knex), topology })
 * ```
 */
export function knexDatabase<Knex extends KnexOnPg>(
  knex: Knex,
  options: KnexDatabaseOptions = {},
): Database<KnexTransaction<Knex>> {
  return new LibraryDatabase(
    {
      name: 'knex',
      pool: poolOf(knex),
      transaction: (client, work) => knex.transaction(work, { connection: client }),
    },
    options,
  )
}

type Connection = PgClient & { __knex__disposed?: unknown }

/** Knex's own pool, as `pg` has it. A connection that is marked as disposed is thrown away when it would be given out again. */
function poolOf({ client: knex }: KnexOnPg): PgPool {
  const connect = async (): Promise<PgClient> => {
    const connection = (await knex.acquireConnection()) as Connection
    connection.release = (error) => {
      if (error) connection.__knex__disposed = error
      void knex.releaseConnection(connection)
    }
    return connection
  }
  return { connect: connect as PgPool['connect'], options: knex.connectionSettings }
}
