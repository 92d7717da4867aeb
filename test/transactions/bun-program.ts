// Run by Bun: publishes in its own SQL's transactions, and consumes through pg.
import pg from 'pg'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'

interface Sql {
  (text: TemplateStringsArray, ...values: unknown[]): Promise<unknown[]>
  unsafe(text: string, values?: unknown[]): Promise<unknown[]>
  savepoint(work: (sql: Sql) => Promise<unknown>): Promise<unknown>
  begin<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result>
  end(): Promise<void>
}
declare const Bun: { SQL: new (url: string) => Sql }

const url = process.env.DATABASE_URL!
const schema = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
const Placed = defineMessage('placed', schema)
const pool = new pg.Pool({ connectionString: url })
const topology = defineTopology({ queues: { billing: { from: [Placed] } } })
const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
const handled = Promise.withResolvers<unknown>()
posthaste.consumer('billing').on(Placed, async ({ payload }, { tx }) => {
  await tx.query(`insert into orders values ('handled')`)
  handled.resolve(payload)
})
await posthaste.start()
const sql = new Bun.SQL(url)
const codeOf = (error: { code?: string; message: string }) => error.code ?? error.message

const { duplicate } = await sql.begin(async (tx) => {
  await tx`insert into orders values (${'a'})`
  return posthaste.publish(tx, Placed.create({ id: 'a' }))
})
const rolledBack = await sql
  .begin(async (tx) => {
    await posthaste.publish(tx, Placed.create({ id: 'b' }))
    throw new Error('out of stock')
  })
  .catch((error) => error.message)
const outside = await posthaste.publish(sql, Placed.create({})).catch(codeOf)
const aborted = await sql
  .begin(async (tx) => {
    await tx`select 1 / 0`.catch(() => {})
    await posthaste.publish(tx, Placed.create({}))
  })
  .catch(codeOf)
let kept: Sql | undefined
await sql.begin(async (tx) => {
  kept = tx
  await tx`select 1`
})
const over = await posthaste.publish(kept!, Placed.create({})).then(
  () => 'published',
  () => 'refused',
)
const payload = await handled.promise
await posthaste.until('completed', undefined, { timeoutMs: 1_000 }).catch(() => {})
await posthaste.stop()
await sql.end()
await pool.end()
console.log(JSON.stringify({ committed: { duplicate }, rolledBack, outside, aborted, over, handled: payload }))
