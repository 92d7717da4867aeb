/**
 * TypeORM’s database as Posthaste's, so that handlers get its transactions.
 *
 * @module posthaste/typeorm
 */

import { handOver } from '../database/hand-over.ts'
import { LibraryDatabase } from '../database/library-database.ts'
import type { PgPool } from '../database/pool.ts'
import type { PgDatabaseOptions } from '../database/pool-database.ts'
import type { Database } from '../database.ts'
import { InvalidOption } from '../errors.ts'

/** How `typeormDatabase` uses its connections; every field has a default. */
export interface TypeOrmDatabaseOptions extends PgDatabaseOptions {}

/** What is asked of a TypeORM data source. */
export interface TypeOrmOnPg {
  readonly manager: object
  readonly driver: object
  // biome-ignore lint/suspicious/noExplicitAny: its overloads are its own
  transaction(...parameters: any[]): Promise<any>
}

/**
 * Your TypeORM data source as Posthaste's database, once it is initialized; transactions are TypeORM's own, and handlers' `tx` is
 * their `EntityManager`. Its type must be `postgres`.
 *
 * ```ts
 * const dataSource = await new DataSource({ type: 'postgres', url, entities }).initialize()
 * const posthaste = new Posthaste({ database: typeormDatabase(dataSource), topology })
 * ```
 */
export function typeormDatabase<Source extends TypeOrmOnPg>(
  dataSource: Source,
  options: TypeOrmDatabaseOptions = {},
): Database<Source['manager']> {
  const { master: pool } = dataSource.driver as { readonly master?: PgPool }
  if (typeof pool?.connect !== 'function')
    throw new InvalidOption('dataSource', 'its type must be postgres, and initialize() must have been awaited')
  return new LibraryDatabase(
    {
      name: 'typeorm',
      pool,
      transaction: (client, work) => handOver(pool, client, () => dataSource.transaction(work)),
    },
    options,
  )
}
