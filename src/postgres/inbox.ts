import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/**
 * Notes a message as processed by a consumer, in the caller's transaction. `fresh` is false when it was noted before. A
 * transaction that is noting the same message is waited for, two seconds at most (55P03).
 */
export function remember(
  t: Tables,
  { messageId, consumer }: { messageId: string; consumer: string },
): Query<{ fresh: boolean }> {
  return {
    text: `select ${t.of('note_processed')}($1::text, array[$2::text::uuid]) = '{}' as fresh`,
    values: [consumer, messageId],
  }
}

/** As `remember`, but only in the transaction of the proof (see `recognise`); in any other it does nothing and returns no row. */
export function rememberProven(
  t: Tables,
  { messageId, consumer, proof }: { messageId: string; consumer: string; proof: string },
): Query<{ fresh: boolean }> {
  return {
    text: `
      select ${t.of('note_processed')}($1::text, array[$2::text::uuid]) = '{}' as fresh
      from (select where current_setting('posthaste.probe', true) = $3::text) proven`,
    values: [consumer, messageId, proof],
  }
}

/** Takes a note back in the transaction that made it: what it stood for did not happen. */
export function forget(t: Tables, { messageId, consumer }: { messageId: string; consumer: string }): Query<unknown> {
  return { text: `select ${t.of('forget_processed')}($1::text, array[$2::text::uuid])`, values: [consumer, messageId] }
}

/** Gives one consumer the processed ids of another; the answer is how many are new to it. */
export function inheritProcessed(t: Tables, { heir, from }: { heir: string; from: string }): Query<number> {
  return {
    text: `select ${t.of('inherit_processed')}($1::text, $2::text) as inherited`,
    values: [heir, from],
    decode: ({ inherited }) => Number(inherited),
  }
}

/** Notes messages as processed by a consumer, in the caller's transaction; answers those that were noted before. */
export function noteAll(
  t: Tables,
  { consumer, ids }: { consumer: string; ids: readonly string[] },
): Query<{ id: string }> {
  return {
    text: `select id from unnest(${t.of('note_processed')}($1::text, $2::uuid[])) id`,
    values: [consumer, ids],
  }
}

/** Takes notes back in the transaction that made them. */
export function forgetAll(t: Tables, { consumer, ids }: { consumer: string; ids: readonly string[] }): Query<unknown> {
  return { text: `select ${t.of('forget_processed')}($1::text, $2::uuid[])`, values: [consumer, ids] }
}

/** Those of the messages that were noted as processed by a consumer. */
export function processedAmong(
  t: Tables,
  { consumer, ids }: { consumer: string; ids: readonly string[] },
): Query<{ id: string }> {
  return {
    text: `
      select message_id as id from ${t.of('inbox')} where consumer = $1 and message_id = any ($2::uuid[])
      union all
      select message_id from ${t.of('inbox_other')} where consumer = $1 and message_id = any ($2::uuid[])`,
    values: [consumer, ids],
  }
}
