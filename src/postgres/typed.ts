import {
  type Compilable,
  DummyDriver,
  type Generated,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely'
import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/** The tables that plain selects read, as they are in migrations/; 64-bit numbers are strings. */
export interface Schema {
  queues: {
    id: Generated<number>
    name: string
    kind: 'standard' | 'stream'
  }
  dead_letters: {
    id: Generated<string>
    queue: number
    reason: string
    history: unknown
    attempts: number
    crashes: number
    dead_at: Date
    message: string
    message_id: string
    exchange: string | null
    routing_key: string | null
    type: string | null
    version: number | null
    key: string | null
    priority: number
    correlation_id: string | null
    causation_id: string | null
    headers: unknown
    payload: unknown
    body: Buffer | null
    content_type: string | null
    published_at: Date | null
  }
}

// Loading Kysely takes longer than all the rest: who needs this imports it when it is needed.
// It compiles and never connects: where a statement runs is for its caller to say.
const kysely = new Kysely<Schema>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})

/** Where a typed statement begins. */
export function typed(t: Tables): Kysely<Schema> {
  return kysely.withSchema(t.schema)
}

/** A typed statement as a value. */
export function compile<Result>(statement: Compilable, decode: (row: Row) => Result): Query<Result> {
  const { sql, parameters } = statement.compile()
  return { text: sql, values: parameters, decode }
}
