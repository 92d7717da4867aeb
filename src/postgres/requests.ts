import { createHash } from 'node:crypto'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** Where a requester hears of its replies; the same as `replies_channel` in SQL. */
export function repliesChannel({ schema }: Tables, requester: string): string {
  return `posthaste.${schema}.r.${createHash('md5').update(requester).digest('hex').slice(0, 8)}`
}

/** Notes that somebody waits for the reply to a message, in the transaction that publishes it. */
export function openRequest(
  t: Tables,
  { id, requester, timeoutMs }: { id: string; requester: string; timeoutMs: number },
): Query<unknown> {
  return { text: `select ${t.of('open_request')}($1::uuid, $2, $3)`, values: [id, requester, timeoutMs] }
}

/** Replies in the transaction it runs in; false when nobody waits any more. `json` is text. */
export function reply(
  t: Tables,
  { request, queue, json }: { request: string; queue: string; json: string },
): Query<{ taken: boolean }> {
  return {
    text: `select ${t.of('reply')}($1::uuid, $2, $3::text::json) as taken`,
    values: [request, queue, json],
  }
}

/** Takes the replies that are there. */
export function takeReplies(t: Tables, ids: readonly string[]): Query<{ id: string; reply: string }> {
  return { text: `select id, reply from ${t.of('take_replies')}($1::uuid[])`, values: [ids] }
}

/** Ends the waiting; a reply that is there is taken. No row: it was taken or forgotten before. */
export function closeRequest(t: Tables, id: string): Query<{ replied: boolean; reply: string | null }> {
  return { text: `select replied, reply from ${t.of('close_request')}($1::uuid)`, values: [id] }
}
