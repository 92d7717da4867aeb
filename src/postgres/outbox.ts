import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/**
 * What became of a message that was handed to your transaction. `duplicate`: its id, given by you, was published before, and nothing was
 * added.
 */
export interface Published {
  /** Of a duplicate, the id of the message that came first. */
  readonly id: string
  /** Whether its dedupe key, or the id that its publisher chose, was known already; then nothing was added. */
  readonly duplicate: boolean
}

const published = (row: Row): Published => ({ id: row.id, duplicate: row.duplicate === 'true' })

/**
 * Appends messages in the caller's transaction, in the order given.
 *
 * One text in, text columns out: the shape that every driver binds alike.
 */
export function publishAll(t: Tables, messages: string): Query<Published> {
  return {
    name: 'posthaste.publish_all',
    text: `select id, duplicate, pg_backend_pid() as backend from ${t.of('publish_all')}($1::text)`,
    values: [messages],
    decode: published,
  }
}

/** As `publishAll`, but only in the transaction that the proof was left in; in any other it does nothing and returns no row. */
export function publishAllProven(t: Tables, messages: string, proof: string): Query<Published> {
  return {
    text: `
      select p.id, p.duplicate
      from (select where current_setting('posthaste.probe', true) = $2::text) proven
      cross join lateral ${t.of('publish_all')}($1::text) p`,
    values: [messages, proof],
    decode: published,
  }
}
