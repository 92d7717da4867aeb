import { randomUUID } from 'node:crypto'
import { TransactionRequired } from './errors.ts'
import type { Queryable, Row } from './postgres/queryable.ts'
import { type DrizzleTransactionHandle, drizzle } from './transaction-handles/drizzle.ts'
import { type KnexTransactionHandle, knex } from './transaction-handles/knex.ts'
import { type KyselyTransactionHandle, kysely } from './transaction-handles/kysely.ts'
import { has, kindOf, type Library, through } from './transaction-handles/library.ts'
import { type MikroOrmTransactionHandle, mikroOrm } from './transaction-handles/mikro-orm.ts'
import { type PgTransactionHandle, pgClient, pgPool } from './transaction-handles/pg.ts'
import { type PgPromiseTransactionHandle, pgPromise } from './transaction-handles/pg-promise.ts'
import { type PostgresJsTransactionHandle, postgresJs } from './transaction-handles/postgres-js.ts'
import { type PrismaTransactionHandle, prisma } from './transaction-handles/prisma.ts'
import { type SequelizeTransactionHandle, sequelize } from './transaction-handles/sequelize.ts'
import { type SlonikTransactionHandle, slonik } from './transaction-handles/slonik.ts'
import { type TypeOrmTransactionHandle, typeorm } from './transaction-handles/typeorm.ts'

export type {
  DrizzleTransactionHandle,
  KnexTransactionHandle,
  KyselyTransactionHandle,
  MikroOrmTransactionHandle,
  PgPromiseTransactionHandle,
  PgTransactionHandle,
  PostgresJsTransactionHandle,
  PrismaTransactionHandle,
  SequelizeTransactionHandle,
  SlonikTransactionHandle,
  TypeOrmTransactionHandle,
}

/** Anything else that runs a text with values in the transaction it stands for, and gives the rows. */
export interface BareTransactionHandle {
  query(text: string, values: unknown[]): Promise<{ rows: Row[] } | Row[]>
  // Pools, clients that can say more, and our own Database.
  readonly totalCount?: never
  readonly getTransactionStatus?: never
  readonly abandon?: never
  readonly createQueryRunner?: never
  readonly authenticate?: never
  readonly $pool?: never
}

/** What `publish` takes as your transaction. */
export type AnyTransaction =
  | PgTransactionHandle
  | KyselyTransactionHandle
  | DrizzleTransactionHandle
  | PrismaTransactionHandle
  | KnexTransactionHandle
  | TypeOrmTransactionHandle
  | MikroOrmTransactionHandle
  | SequelizeTransactionHandle
  | PostgresJsTransactionHandle
  | SlonikTransactionHandle
  | PgPromiseTransactionHandle
  | BareTransactionHandle

/** Your transaction, ready for our statements. */
export interface Recognised {
  readonly queryable: Queryable
  /**
   * Set for a handle that cannot say whether it is in a transaction: it is in one if, and only if, a statement run through it
   * finds `current_setting('posthaste.probe', true) = proof`.
   */
  readonly proof?: string
}

// By what only they have: those that have more come first.
const LIBRARIES: readonly Library[] = [
  pgPool,
  kysely,
  pgPromise,
  slonik,
  pgClient,
  drizzle,
  prisma,
  mikroOrm,
  knex,
  typeorm,
  sequelize,
  postgresJs,
]

/**
 * Recognises a transaction by what it can do, and refuses with a `TransactionRequired` or `TransactionAborted`, thrown or as a
 * rejection, what is none or one that can no longer commit. A statement that finds the transaction aborted throws `TransactionAborted` as well.
 */
export function recognise(handle: unknown): Recognised | Promise<Recognised> {
  const library = isHandle(handle) ? libraryOf(handle) : undefined
  if (library) {
    const opened = library.open(handle as never)
    const proved = (queryable: Queryable) => (library.silent?.(handle as never) ? probe(queryable) : { queryable })
    return opened instanceof Promise ? opened.then(proved) : proved(opened)
  }
  if (isBare(handle)) return probe(through(kindOf(handle), (text, values) => handle.query(text, [...values])))
  throw new TransactionRequired(
    kindOf(handle),
    'pass a pg client after BEGIN, Kysely’s tx, the transaction of another library (docs/drivers.md), or an object with query(text, values)',
  )
}

/** The refusal of a handle whose proof did not hold. */
export function outsideOfTransaction(handle: unknown): TransactionRequired {
  return new TransactionRequired(
    kindOf(handle),
    'begin one, and run publish and your own statements through the same connection before COMMIT',
  )
}

// A client of a pool comes again and again.
const libraries = new WeakMap<object, Library>()

function libraryOf(handle: object): Library | undefined {
  const known = libraries.get(handle)
  if (known !== undefined) return known
  const library = LIBRARIES.find(({ knows }) => knows(handle))
  if (library !== undefined) libraries.set(handle, library)
  return library
}

function isHandle(handle: unknown): handle is object {
  return handle !== null && (typeof handle === 'object' || typeof handle === 'function')
}

function isBare(handle: unknown): handle is BareTransactionHandle {
  return has(handle, 'query')
}

async function probe(queryable: Queryable): Promise<Recognised> {
  const proof = randomUUID()
  await queryable.query(`select set_config('posthaste.probe', $1::text, true)`, [proof])
  return { queryable, proof }
}
