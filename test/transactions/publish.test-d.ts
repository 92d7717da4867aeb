// Read by tsc alone: what `publish` takes of each library, and what is refused before it runs.

import type { EntityManager as MikroEntityManager, MikroORM } from '@mikro-orm/postgresql'
import type { Prisma, PrismaClient } from '@prisma/client'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { Knex } from 'knex'
import type { Pool } from 'pg'
import type { IDatabase, ITask } from 'pg-promise'
import type { Sql, TransactionSql } from 'postgres'
import type { Sequelize, Transaction as SequelizeTransaction } from 'sequelize'
import type { DatabasePool, DatabaseTransactionConnection } from 'slonik'
import type { DataSource, EntityManager, QueryRunner } from 'typeorm'
import type { Database } from '../../src/database.ts'
import { drizzleDatabase } from '../../src/databases/drizzle.ts'
import { knexDatabase } from '../../src/databases/knex.ts'
import { prismaDatabase } from '../../src/databases/prisma.ts'
import { typeormDatabase } from '../../src/databases/typeorm.ts'
import type { AnyTransaction } from '../../src/index.ts'

declare const publish: (tx: AnyTransaction) => void
type TxOf<Db> = Db extends { transaction(work: (tx: infer Tx) => Promise<unknown>, ...rest: never[]): unknown }
  ? Tx
  : never

publish({} as TxOf<NodePgDatabase<Record<string, never>>>)
publish({} as TxOf<PostgresJsDatabase<Record<string, never>>>)
publish({} as Prisma.TransactionClient)
publish({} as Knex.Transaction)
publish({} as EntityManager)
publish({} as QueryRunner)
publish({} as MikroEntityManager)
publish({} as SequelizeTransaction)
publish({} as TransactionSql)
publish({} as DatabaseTransactionConnection)
publish({} as ITask<object>)

// @ts-expect-error db is no transaction
publish({} as NodePgDatabase<Record<string, never>>)
// @ts-expect-error db is no transaction
publish({} as PostgresJsDatabase<Record<string, never>>)
// @ts-expect-error the client is no transaction
publish({} as PrismaClient)
// @ts-expect-error knex is no transaction
publish({} as Knex)
// @ts-expect-error a data source is no transaction
publish({} as DataSource)
// @ts-expect-error an ORM is no transaction
publish({} as MikroORM)
// @ts-expect-error a Sequelize is no transaction
publish({} as Sequelize)
// @ts-expect-error sql outside of begin is no transaction
publish({} as Sql)
// @ts-expect-error a pool is no transaction
publish({} as DatabasePool)
// @ts-expect-error db is no transaction
publish({} as IDatabase<object>)

// A handler's tx is the user's own type, inferred from what the database was made of.
declare const db: NodePgDatabase<{ orders: typeof import('./subjects/drizzle.ts').orders }> & { $client: Pool }
declare const prisma: PrismaClient
declare const knex: Knex
declare const dataSource: DataSource
declare const pool: Pool
declare function txOf<Tx>(database: Database<Tx>): Tx

void txOf(drizzleDatabase(db)).query.orders.findFirst()
void txOf(prismaDatabase(prisma, { pool })).order.findFirst()
void txOf(knexDatabase(knex))('orders').insert({ id: 'a' })
void txOf(knexDatabase(knex)).savepoint(async () => {})
void txOf(typeormDatabase(dataSource)).getRepository('Order')
publish(txOf(drizzleDatabase(db)))
publish(txOf(prismaDatabase(prisma, { pool })))
publish(txOf(knexDatabase(knex)))
publish(txOf(typeormDatabase(dataSource)))

// @ts-expect-error Prisma does not say which pool it stands on
prismaDatabase(prisma)
// @ts-expect-error postgres.js is no pg
drizzleDatabase({} as PostgresJsDatabase<Record<string, never>> & { $client: Sql })
