// What the examples in the doc comments take for granted: a shop, its contracts, and the handles a service has at hand.
import { Kysely, PostgresDialect, type Transaction } from 'kysely'
import pg from 'pg'
import { z } from 'zod'
import type { DrizzleOnPg } from '../../src/databases/drizzle.ts'
import type { KnexOnPg } from '../../src/databases/knex.ts'
import type { PrismaOnPg } from '../../src/databases/prisma.ts'
import type { TypeOrmOnPg } from '../../src/databases/typeorm.ts'
import { defineMessage, defineProvider, defineTopology, type Posthaste } from '../../src/index.ts'

export { Kysely, PostgresDialect, pg, z }

export interface Shop {
  orders: { id: string; total_cents: number }
  charges: { order_id: string; cents: number }
  ledger: { id: string; account: string; cents: number }
}

export const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string(), cents: z.int() }))
export const Paid = defineMessage('paid', z.object({ account: z.string(), cents: z.int() }))
export const GetQuote = defineMessage('quote.get', z.object({ sku: z.string() }), {
  reply: z.object({ cents: z.int() }),
})
export const CloseBooks = defineMessage('books.close', z.object({}))
export const topology = defineTopology({ queues: { billing: {}, ledger: {}, quotes: {}, payments: {}, cards: {} } })
export type QueueName = 'billing' | 'ledger' | 'quotes' | 'payments' | 'cards'

export declare const connectionString: string
export declare const pool: pg.Pool
export declare const db: Kysely<Shop>
export declare const tx: Transaction<Shop>
export declare const posthaste: Posthaste<Transaction<Shop>, QueueName>
export declare const signal: AbortSignal
export declare const log: { info(message: string): void }

export declare const orderId: string
export declare const cents: number
export declare const order: Shop['orders']
export declare const id: string
export declare const reminderId: string

export declare function charge(tx: Transaction<Shop>, payload: unknown): Promise<void>
export declare function book(tx: Transaction<Shop>, payload: unknown): Promise<void>
export declare function priceOf(tx: Transaction<Shop>, sku: string): Promise<number>
export declare function isClosed(tx: Transaction<Shop>): Promise<boolean>
export declare function placeOrder(order: { orderId: string }): Promise<void>
export declare function createMyTables(url: string): Promise<void>

export const acme = defineProvider('acme', { keyWindowMs: 86_400_000 })
export declare const paymentId: string
export declare const event: { id: string; paymentId: string; charge: { id: string } }
export declare const response: Response
export declare const cause: unknown
/** The client of a payment provider. */
export declare const psp: {
  capture(
    payment: { paymentId: string; cents: number },
    options: { idempotencyKey: string; signal: AbortSignal },
  ): Promise<{ id: string; declined: boolean; code: string }>
  find(idempotencyKey: string): Promise<{ id: string; declined: boolean; code: string } | undefined>
}

// What the clients of other libraries come to here; test/transactions has the libraries themselves.
export declare const schema: object
export declare const url: string
export declare const entities: never[]
export declare function drizzle(options: { client: pg.Pool; schema: object }): DrizzleOnPg
export declare function Knex(options: { client: 'pg'; connection: string }): KnexOnPg
export declare const PrismaPg: new (pool: pg.Pool) => object
export declare const PrismaClient: new (options: { adapter: object }) => PrismaOnPg
export declare const DataSource: new (options: {
  type: 'postgres'
  url: string
  entities: never[]
}) => { initialize(): Promise<TypeOrmOnPg> }
