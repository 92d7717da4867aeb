import { timeOrNull } from '../rules/driver-values.ts'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** What was published because of a message; with no id, how far the log was read. */
export interface Caused {
  readonly id: string | null
  readonly causationId: string | null
  readonly searchedUntil: Date | null
}

export function causedBy(
  t: Tables,
  { id, correlationId, span, limit }: { id: string; correlationId: string; span: number; limit: number },
): Query<Caused> {
  return {
    text: `
      select message_id as id, causation_id as "causationId", searched_until as "searchedUntil"
      from ${t.of('caused_by')}($1::uuid, $2, $3, $4)`,
    values: [id, correlationId, span, limit],
    decode: (row) => ({ ...row, searchedUntil: timeOrNull(row.searchedUntil) }) as Caused,
  }
}

/** Notes that a handler of a message has run an operation on the outside. */
export function noteEffectCause(
  t: Tables,
  { messageId, operation }: { readonly messageId: string; readonly operation: string },
): Query<unknown> {
  return {
    text: `insert into ${t.of('effect_causes')} (message_id, operation) values ($1, $2) on conflict do nothing`,
    values: [messageId, operation],
  }
}

/** What became of a message, as JSON. */
export function trace(t: Tables, messageId: string): Query<{ trace: string }> {
  return { text: `select ${t.of('trace')}($1::uuid)::text as trace`, values: [messageId] }
}
