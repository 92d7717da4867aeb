import { timeFrom } from '../rules/driver-values.ts'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** What somebody did by hand. */
export interface Act {
  readonly id: string
  readonly at: Date
  /** Who said he did it; null for an unknown hand. */
  readonly by: string | null
  /** `redrive`, `purge-dead`, `erase`, `resolve` … */
  readonly act: string
  readonly queue: string | null
  /** What it was done to, and how much of it. */
  readonly facts: Readonly<Record<string, unknown>>
}

/** The newest acts first. */
export function acts(
  t: Tables,
  { queue, before, limit }: { queue: string | null; before: string | null; limit: number },
): Query<Act> {
  return {
    text: `
      select j.id::text, j.at, j.by, j.act, j.queue, j.facts::text as facts
      from ${t.of('journal')} j
      where ($1::text is null or j.queue = $1) and ($2::bigint is null or j.id < $2)
      order by j.id desc
      limit $3`,
    values: [queue, before, limit],
    decode: (row) => ({ ...row, at: timeFrom(row.at), facts: JSON.parse(row.facts) }) as Act,
  }
}
