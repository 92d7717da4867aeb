import type { CompiledQuery } from 'kysely'

/** A text with its values as Kysely executes it, made without loading Kysely: its users have it, and nobody else waits for it. */
export function kyselyStatement(text: string, values: readonly unknown[]): CompiledQuery {
  return Object.freeze({
    sql: text,
    parameters: Object.freeze([...values]),
    query: Object.freeze({ kind: 'RawNode', sqlFragments: Object.freeze([text]), parameters: Object.freeze([]) }),
    queryId: Object.freeze({ queryId: 'posthaste' }),
  })
}

const ABORTED = Symbol.for('kysely.AbortedTransactionError')

/** Did Kysely see COMMIT answered with ROLLBACK? */
export function isAbortedByKysely(error: unknown): boolean {
  return typeof error === 'object' && error !== null && ABORTED in error
}
