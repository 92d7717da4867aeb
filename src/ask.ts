import type { Context } from './context.ts'
import { type Query, run } from './postgres/queryable.ts'
import { refusal } from './postgres/refusal.ts'

/** Runs one statement, committed by itself. What the schema's own functions refuse comes back as an error of ours. */
export async function ask<Result>(
  { database, tables }: Pick<Context, 'database' | 'tables'>,
  query: Query<Result>,
): Promise<Result[]> {
  try {
    return await run(database, query)
  } catch (error) {
    throw refusal(tables, error)
  }
}
