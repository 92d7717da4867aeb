import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** Answers when the database does and the schema is there; reads one row. */
export function schemaAnswers(t: Tables): Query<unknown> {
  return { text: `select payload_bytes from ${t.of('settings')}`, values: [] }
}
