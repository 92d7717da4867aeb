import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** Takes the probe of a half-open breaker for so long; false when another has it. */
export function beginProbe(
  t: Tables,
  { queue, probeMs }: { queue: number; probeMs: number },
): Query<{ begun: boolean }> {
  return { text: `select ${t.of('begin_probe')}($1, $2) as begun`, values: [queue, probeMs] }
}

/** How it went; null when there was nothing to try. */
export function endProbe(t: Tables, { queue, passed }: { queue: number; passed: boolean | null }): Query<unknown> {
  return { text: `select ${t.of('end_probe')}($1, $2::boolean)`, values: [queue, passed] }
}
