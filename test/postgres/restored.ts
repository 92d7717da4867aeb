import type { Bench } from './bench.ts'

/** As after a dump restored into a cluster whose transactions are numbered otherwise. */
export async function moveXids(b: Bench, by: number): Promise<void> {
  const moved = (text: string) =>
    `regexp_replace(${text}, '.*', (select string_agg(part, ':') from (select string_agg(case when n = '' then '' else (n::bigint + ${by})::text end, ',') as part
       from regexp_split_to_table(${text}, ':') with ordinality s (list, k), regexp_split_to_table(list, ',') n group by k order by k) p))`
  await b.pool.query(`
    update posthaste.outbox set xid = (xid::text::bigint + ${by})::text::xid8;
    update posthaste.tally set xid = (xid::text::bigint + ${by})::text::xid8;
    update posthaste.ticks set snapshot = ${moved('snapshot::text')}::pg_snapshot;
    update posthaste.folds set snapshot = ${moved('snapshot::text')}::pg_snapshot;`)
}
