/**
 * Drizzle’s database as Posthaste's, so that handlers get its transactions.
 *
 * @module posthaste/drizzle
 */

import { handOver } from '../database/hand-over.ts'
import { LibraryDatabase } from '../database/library-database.ts'
import type { PgPool } from '../database/pool.ts'
import type { PgDatabaseOptions } from '../database/pool-database.ts'
import type { Database } from '../database.ts'

/** How `drizzleDatabase` uses its connections; every field has a default. */
export interface DrizzleDatabaseOptions extends PgDatabaseOptions {}

/** What is asked of a Drizzle on node-postgres. */
export interface DrizzleOnPg {
  readonly $client: PgPool
  // biome-ignore lint/suspicious/noExplicitAny: its type parameters are its own
  transaction(work: (tx: any) => Promise<any>): Promise<any>
}

/** The `tx` of a Drizzle. */
export type DrizzleTransaction<Db> = Db extends {
  transaction(work: (tx: infer Tx) => Promise<unknown>, ...rest: never[]): unknown
}
  ? Tx
  : never

/**
 * Your Drizzle as Posthaste's database, when it stands on a `pg` pool; transactions are Drizzle's own, and so are handlers' `tx`.
 *
 * ```ts
 * const db = drizzle({ client: new pg.Pool({ connectionString }), schema })
 * const posthaste = new Posthaste({ database: drizzleDatabase(db), topology })
 * ```
 */
export function drizzleDatabase<Db extends DrizzleOnPg>(
  db: Db,
  options: DrizzleDatabaseOptions = {},
): Database<DrizzleTransaction<Db>> {
  const pool = db.$client
  return new LibraryDatabase(
    { name: 'drizzle', pool, transaction: (client, work) => handOver(pool, client, () => db.transaction(work)) },
    options,
  )
}
