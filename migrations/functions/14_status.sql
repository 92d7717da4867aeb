-- How far the router is behind the log, and who routes: `unrouted` is counted up to `_limit`. On a log that came from another
-- cluster, whose ticks mean nothing here until the relay has set its position anew, it is null.
create or replace function relay_status(
  _limit integer, out tick bigint, out at timestamptz, out unrouted integer, out oldest_ms double precision,
  out duty_pid integer, out duty_name text, out standing_by integer
)
language plpgsql set search_path from current
as $$
#variable_conflict use_column
declare
  here positions;
  a ticks;
  b ticks;
  ids bigint[];
begin
  select * into here from positions where reader = 'router' order by number desc limit 1;
  select * into b from ticks where number = here.tick;
  select * into a from ticks where number = here.tick - 1;
  tick := here.tick;
  at := here.at;

  if here.system_identifier is not distinct from (select system_identifier from pg_control_system())
    and pg_snapshot_xmax(b.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
  then
    ids := array(
      select u.id from unrouted('amid', a.snapshot, b.snapshot, here.id, b.top_id, here.floor_id, _limit) u
      where here.id < 9223372036854775807
      union all
      select u.id from unrouted('between', b.snapshot, pg_current_snapshot(), 0, 0, here.floor_id, _limit) u
      limit _limit);
    unrouted := cardinality(ids);
    select greatest(0, extract(epoch from clock_timestamp() - m.published_at) * 1000) into oldest_ms
    from messages_by_id(ids[1:1]) m;
  end if;

  select max(l.pid) filter (where l.granted), (count(*) filter (where not l.granted))::integer into duty_pid, standing_by
  from pg_locks l
  where l.locktype = 'advisory' and l.objsubid = 2
    and l.database = (select oid from pg_database where datname = current_database())
    and l.classid::bigint = lock_class()
    and l.objid::bigint = lock_object('duty')::bigint & 4294967295;
  select nullif(application_name, '') into duty_name from pg_stat_activity where pid = duty_pid;
end $$;

-- Per queue: what waits, what is worked on, what ended badly, how old the head is, and how fast it goes. Depth and dead come
-- from the counts, and ready is what is left of depth: only what is scheduled or leased is counted row by row. Rates are
-- those since the oldest fold that is kept.
create or replace function queue_status(_queue text default null) returns table (
  name text, kind text, depth bigint, ready bigint, scheduled bigint, leased bigint, dead bigint, oldest_ms double precision,
  routed bigint, completed bigint, retried bigint, died bigint, over_ms double precision
)
language plpgsql stable set search_path from current
as $$
#variable_conflict use_column
declare
  f folds;
begin
  select * into f from folds order by number limit 1;
  return query
  with
  c as materialized (
    select name, counter, sum(n) as n, sum(recent) as recent
    from (
      select name, counter, n, n as recent from counters() where scope = 'queue'
      union all
      select e ->> 1, e ->> 2, 0, -(e ->> 3)::bigint from jsonb_array_elements(f.counts) e where e ->> 0 = 'queue'
    ) u
    group by name, counter
  ),
  ended as (
    select name,
      sum(n * case when counter in ('routed', 'redriven') then 1
                   when counter in ('completed', 'dead', 'expired', 'discarded', 'purged') then -1 else 0 end)::bigint as depth,
      sum(n * case counter when 'dead' then 1 when 'redriven' then -1 when 'dead-purged' then -1 else 0 end)::bigint as dead,
      coalesce(sum(recent) filter (where counter = 'routed'), 0)::bigint as routed,
      coalesce(sum(recent) filter (where counter = 'completed'), 0)::bigint as completed,
      coalesce(sum(recent) filter (where counter = 'retried'), 0)::bigint as retried,
      coalesce(sum(recent) filter (where counter = 'dead'), 0)::bigint as died
    from c
    group by name
  ),
  waiting as materialized (
    select s.queue, count(*) as n from scheduled s group by s.queue
  ),
  held_now as materialized (
    select l.queue, sum(jsonb_array_length(l.deliveries) - (select count(*) from settled s where s.lease = l.id))::bigint as n
    from leases l
    group by l.queue
  )
  select q.name, q.kind, coalesce(e.depth, 0),
         coalesce(e.depth, 0) - coalesce(w.n, 0) - coalesce(h.n, 0), coalesce(w.n, 0), coalesce(h.n, 0), coalesce(e.dead, 0),
         (extract(epoch from clock_timestamp() - head.published_at) * 1000)::double precision,
         coalesce(e.routed, 0), coalesce(e.completed, 0), coalesce(e.retried, 0), coalesce(e.died, 0),
         (extract(epoch from clock_timestamp() - f.at) * 1000)::double precision
  from queues q
  left join ended e on e.name = q.name
  left join waiting w on w.queue = q.id
  left join held_now h on h.queue = q.id
  left join lateral (
    select min(m.published_at) as published_at
    from messages_by_id(array(
      select first.message
      from generate_series(0, 9) as p (priority)
      cross join lateral (
        select r.message from ready r where r.queue = q.id and r.priority = p.priority order by r.position limit 1
      ) first)) m
  ) head on true
  where _queue is null or q.name = _queue
  order by q.name;
end $$;
