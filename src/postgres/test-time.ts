import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/**
 * Gives a schema a clock that can be moved: a table says by how much, and every function and default of the schema that asks
 * `clock_timestamp()` asks `test_clock()` instead. For databases of tests alone; nothing of it is in the schema that ships.
 */
export function movableClock({ schema, of }: Tables): string {
  return `
    create table ${of('test_time')} (moved interval not null default '0', frozen_at timestamptz);
    insert into ${of('test_time')} default values;
    create function ${of('test_clock')}() returns timestamptz language sql volatile
    as $clock$ select coalesce(frozen_at, pg_catalog.clock_timestamp() + moved) from ${of('test_time')} $clock$;
    do $do$
    declare
      f record;
      d record;
    begin
      for f in
        select pg_get_functiondef(p.oid) as text
        from pg_proc p
        where p.pronamespace = '"${schema}"'::regnamespace and p.prokind = 'f' and p.proname <> 'test_clock'
          and p.prosrc like '%clock_timestamp()%'
      loop
        execute replace(f.text, 'clock_timestamp()', '"${schema}".test_clock()');
      end loop;
      for d in
        select c.oid::regclass as relation, a.attname, pg_get_expr(x.adbin, x.adrelid) as text
        from pg_attrdef x
        join pg_class c on c.oid = x.adrelid
        join pg_attribute a on a.attrelid = x.adrelid and a.attnum = x.adnum
        where c.relnamespace = '"${schema}"'::regnamespace and pg_get_expr(x.adbin, x.adrelid) like '%clock_timestamp()%'
      loop
        execute format('alter table %s alter column %I set default %s', d.relation, d.attname,
                       replace(d.text, 'clock_timestamp()', '"${schema}".test_clock()'));
      end loop;
    end $do$;`
}

/** Whether the clock of a schema can be moved. */
export function hasMovableClock(t: Tables): Query<boolean> {
  return {
    text: `select to_regclass($1) is not null as there`,
    values: [t.of('test_time')],
    decode: (row) => row.there,
  }
}

export function timeNow(t: Tables): Query<Date> {
  return { text: `select extract(epoch from ${t.of('test_clock')}()) * 1000 as now`, values: [], decode: now }
}

/** Later by so many milliseconds; also a clock that stands still. */
export function moveTime(t: Tables, ms: number): Query<never> {
  return {
    text: `
      update ${t.of('test_time')}
      set moved = moved + $1::double precision * interval '1 ms', frozen_at = frozen_at + $1::double precision * interval '1 ms'`,
    values: [ms],
  }
}

/** Stops it, at this time or at the one it shows. */
export function freezeTime(t: Tables, at: Date | null): Query<never> {
  return {
    text: `update ${t.of('test_time')} set frozen_at = coalesce($1::timestamptz, ${t.of('test_clock')}())`,
    values: [at],
  }
}

/** Lets it go on from the time it shows. */
export function thawTime(t: Tables): Query<never> {
  return {
    text: `update ${t.of('test_time')} set moved = ${t.of('test_clock')}() - pg_catalog.clock_timestamp(), frozen_at = null`,
    values: [],
  }
}

/** When the next scheduled delivery of these queues is due, by their names; none when nothing is scheduled. */
export function nextDue(t: Tables, queues: readonly string[]): Query<Date | undefined> {
  return {
    text: `
      select extract(epoch from min(s.due_at)) * 1000 as now
      from ${t.of('scheduled')} s
      join ${t.of('queues')} q on q.id = s.queue
      where q.name = any ($1::text[])`,
    values: [[...queues]],
    decode: (row) => (row.now === null ? undefined : now(row)),
  }
}

function now(row: Row): Date {
  return new Date(Math.ceil(Number(row.now)))
}
