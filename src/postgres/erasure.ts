import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** Takes the payload of a message away wherever it stands, in one transaction, whose number it answers. */
export function eraseMessage(
  t: Tables,
  { messageId, by, note }: { readonly messageId: string; readonly by: string | null; readonly note: boolean },
): Query<{ found: boolean; copies: readonly string[]; xid: string }> {
  return {
    text: `select was_there as found, copies::text[] as copies, xid::text as xid from ${t.of('erase_message')}($1::uuid, $2::text, $3::boolean)`,
    values: [messageId, by, note],
  }
}

/** Whether every transaction that was open when this one wrote has ended. */
export function isPast(t: Tables, xid: string): Query<{ past: boolean }> {
  return { text: `select ${t.of('is_past')}($1::text::xid8) as past`, values: [xid] }
}
