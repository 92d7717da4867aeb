import type { ControlledTransaction, Kysely, Transaction } from 'kysely'
import type pg from 'pg'
import { expectTypeOf, test } from 'vitest'
import type { Database } from '../../src/database.ts'
import { kyselyDatabase } from '../../src/databases/kysely.ts'
import { pgDatabase } from '../../src/databases/pg.ts'
import type { AnyTransaction } from '../../src/transaction-handle.ts'

interface Shop {
  orders: { id: number }
}

declare const pool: pg.Pool
declare const db: Kysely<Shop>
declare const publish: (tx: AnyTransaction) => void

test('publish takes a transaction of each driver', () => {
  publish({} as pg.PoolClient)
  publish({} as pg.Client)
  publish({} as Transaction<Shop>)
  publish({} as ControlledTransaction<Shop, ['a']>)
  publish({ query: async (_text: string, _values: unknown[]) => ({ rows: [] }) })
  publish({ query: async (_text: string, _values: unknown[]) => [] })
})

test('publish refuses a pool, a database and what cannot run a statement', () => {
  // @ts-expect-error a pool is no transaction
  publish(pool)
  // @ts-expect-error Kysely's db is no transaction
  publish(db)
  // @ts-expect-error nothing to run a statement with
  publish({})
  // @ts-expect-error nothing at all
  publish(undefined)
  // @ts-expect-error posthaste's own database commits each statement by itself
  publish(pgDatabase(pool))
})

test('a handler’s tx is the user’s own type, inferred', () => {
  expectTypeOf(pgDatabase(pool)).toEqualTypeOf<Database<pg.PoolClient>>()
  expectTypeOf(kyselyDatabase(db)).toEqualTypeOf<Database<Transaction<Shop>>>()
  expectTypeOf(kyselyDatabase(db, { pool }).guard).returns.toHaveProperty('tx').toEqualTypeOf<Transaction<Shop>>()
})
