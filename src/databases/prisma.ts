/**
 * Prisma’s database as Posthaste's, so that handlers get its transactions.
 *
 * @module posthaste/prisma
 */

import { handOver } from '../database/hand-over.ts'
import { LibraryDatabase } from '../database/library-database.ts'
import type { PgPool } from '../database/pool.ts'
import type { PgDatabaseOptions } from '../database/pool-database.ts'
import type { Database } from '../database.ts'

/** The pool that your Prisma adapter was given, and how it is used. */
export interface PrismaDatabaseOptions extends PgDatabaseOptions {
  /** The `pg` pool that you gave to the `PrismaPg` of your client. */
  readonly pool: PgPool
}

/** What is asked of a Prisma client. */
export interface PrismaOnPg {
  // biome-ignore lint/suspicious/noExplicitAny: its overloads are its own
  $transaction(work: (tx: any) => Promise<any>, options?: any): Promise<any>
}

/** The `tx` of a Prisma client. */
export type PrismaTransaction<Client> = Client extends {
  $transaction(work: (tx: infer Tx) => Promise<unknown>, ...rest: never[]): unknown
}
  ? Tx
  : never

// Prisma would end a transaction after five seconds; when a handler has taken too long is for its consumer to say.
const AS_LONG_AS_IT_TAKES = { maxWait: 2 ** 31 - 1, timeout: 2 ** 31 - 1 }

/**
 * Your Prisma client as Posthaste's database, when its adapter is `PrismaPg` on a `pg` pool; transactions are Prisma's own, and so
 * are handlers' `tx`.
 *
 * ```ts
 * const pool = new pg.Pool({ connectionString })
 * const prisma = new PrismaClient({ adapter: new PrismaPg(pool) })
 * const posthaste = new Posthaste({ database: prismaDatabase(prisma, { pool }), topology })
 * ```
 */
export function prismaDatabase<Client extends PrismaOnPg>(
  prisma: Client,
  { pool, ...options }: PrismaDatabaseOptions,
): Database<PrismaTransaction<Client>> {
  return new LibraryDatabase(
    {
      name: 'prisma',
      pool,
      transaction: (client, work) => handOver(pool, client, () => prisma.$transaction(work, AS_LONG_AS_IT_TAKES)),
    },
    options,
  )
}
