import type { Claimed } from './claim.ts'
import { claimed, claimedColumns } from './claimed-row.ts'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** The deliveries a queue would hand out next, most urgent and oldest first; claims, locks and changes nothing. */
export function peek(t: Tables, { queue, limit }: { readonly queue: number; readonly limit: number }): Query<Claimed> {
  return {
    text: `
      select ${claimedColumns()}
      from ${t.of('with_messages')}(array(
        select r
        from ${t.of('ready')} r
        where queue = $1
        order by priority, position
        limit $2
      ), '{}')`,
    values: [queue, limit],
    decode: claimed,
  }
}
