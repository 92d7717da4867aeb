import { PrismaPg } from '@prisma/adapter-pg'
import { type Prisma, PrismaClient } from '@prisma/client'
import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import knexOf, { type Knex } from 'knex'
import pg from 'pg'
import { DataSource, type EntityManager } from 'typeorm'
import { type DrizzleTransaction, drizzleDatabase } from '../../../src/databases/drizzle.ts'
import { knexDatabase } from '../../../src/databases/knex.ts'
import { prismaDatabase } from '../../../src/databases/prisma.ts'
import { typeormDatabase } from '../../../src/databases/typeorm.ts'
import { promisesOfADatabase } from '../../databases/conformance.ts'

type Row = Record<string, unknown>

/** Libraries wrap what the driver told them, and what we did. */
async function unwrapped(rows: PromiseLike<Row[]>): Promise<Row[]> {
  try {
    return await rows
  } catch (error) {
    let inner = error as { cause?: unknown; driverError?: unknown; meta?: { driverAdapterError?: { cause?: unknown } } }
    for (;;) {
      const next = inner.cause ?? inner.driverError ?? inner.meta?.driverAdapterError?.cause
      if (next === undefined || next === null) throw inner
      inner = next as typeof inner
    }
  }
}

const onDrizzle = (pool: pg.Pool) => drizzle({ client: pool })

promisesOfADatabase<DrizzleTransaction<ReturnType<typeof onDrizzle>>>('drizzleDatabase', {
  open: (pool, options) => drizzleDatabase(onDrizzle(pool), options),
  sql: (tx, text) => unwrapped(tx.execute<Row>(drizzleSql.raw(text)).then(({ rows }) => rows)),
})

promisesOfADatabase<Prisma.TransactionClient>('prismaDatabase', {
  // The very pg that Prisma's adapter imports.
  makePool: (config) => new pg.Pool(config),
  open: (pool, options) => prismaDatabase(new PrismaClient({ adapter: new PrismaPg(pool) }), { ...options, pool }),
  sql: (tx, text) => unwrapped(tx.$queryRawUnsafe<Row[]>(text)),
})

promisesOfADatabase<EntityManager>('typeormDatabase', {
  open(pool, options) {
    const dataSource = new DataSource({ type: 'postgres' })
    // Initialized, with the suite's pool in place of one of its own.
    Object.assign(dataSource, { isInitialized: true })
    Object.assign(dataSource.driver, { master: pool })
    return typeormDatabase(dataSource, options)
  },
  sql: (manager, text) => unwrapped(manager.query<Row[]>(text)),
})

interface Tarn {
  numUsed(): number
  numFree(): number
  readonly free: readonly { readonly resource: { readonly __knex__disposed?: unknown } }[]
}

/** Knex's pool, as far as the suite looks at one. */
class KnexPool {
  readonly knex: Knex

  constructor({ connectionString, max = 10 }: pg.PoolConfig) {
    this.knex = knexOf({ client: 'pg', connection: connectionString!, pool: { min: 0, max } })
  }

  async connect() {
    const connection = await this.knex.client.acquireConnection()
    return { release: () => void this.knex.client.releaseConnection(connection) }
  }

  end(): Promise<void> {
    return this.knex.destroy()
  }

  get totalCount(): number {
    return this.#tarn.numUsed() + this.idleCount
  }

  get idleCount(): number {
    return this.#tarn.free.filter(({ resource }) => !resource.__knex__disposed).length
  }

  get #tarn(): Tarn {
    return this.knex.client.pool
  }
}

promisesOfADatabase<Knex.Transaction, KnexPool>('knexDatabase', {
  makePool: (config) => new KnexPool(config),
  open: (pool, options) => knexDatabase(pool.knex, options) as never,
  sql: (trx, text) => unwrapped(trx.raw(text.replaceAll('?', '\\?')).then(({ rows }: { rows: Row[] }) => rows)),
})
