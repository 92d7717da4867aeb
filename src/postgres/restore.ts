import type { Place } from './claim.ts'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

export interface Restored {
  readonly position: string
  /** False: a transaction that the server has not ended still holds the row. */
  readonly restored: boolean
}

/** Puts rows of the caller's own, rolled back claims in their places again, uncharged. A row that is not returned was committed. */
export function restore(t: Tables, { queue, rows }: { queue: number; rows: readonly Place[] }): Query<Restored> {
  return {
    text: `select position::text as position, restored from ${t.of('restore_ready')}($1::integer, $2::smallint[], $3::bigint[])`,
    values: [queue, rows.map(({ priority }) => priority), rows.map(({ position }) => position)],
  }
}
