-- Every counter as it stands in the caller's snapshot: the latest fold and what it does not see yet. O(1): the rows since.
create or replace function counters() returns table (scope text, name text, counter text, n bigint)
language plpgsql stable set search_path from current set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  f folds;
  running xid8[];
begin
  select * into f from folds order by number desc limit 1;
  running := array(select pg_snapshot_xip(f.snapshot));
  return query
  select u.scope, u.name, u.counter, sum(u.n)::bigint
  from (
    select e ->> 0 as scope, e ->> 1 as name, e ->> 2 as counter, (e ->> 3)::bigint as n
    from jsonb_array_elements(f.counts) e
    union all
    select t.scope, t.name, t.counter, t.n
    from tally t
    where t.xid = any (running) or t.xid >= pg_snapshot_xmax(f.snapshot)
  ) u
  group by u.scope, u.name, u.counter;
end $$;

-- Sums up the tally to now. The rules are the cursor's: a fold is the fold before and what committed between.
create or replace function fold_tally() returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  a folds;
  b pg_snapshot;
  ended xid8[];
  sums jsonb;
begin
  perform from turns where name = 'upkeep' for update skip locked;
  if not found then
    return false;
  end if;
  select * into a from folds order by number desc limit 1;
  select pg_current_snapshot() into b;
  ended := ended_between(a.snapshot, b);
  if not exists (
    select from tally t
    where (t.xid = any (ended) or t.xid >= pg_snapshot_xmax(a.snapshot) and t.xid < pg_snapshot_xmax(b)) and pg_visible_in_snapshot(t.xid, b)
  ) then
    return false;
  end if;
  select jsonb_agg(jsonb_build_array(scope, name, counter, n)) into sums
  from (
    select scope, name, counter, sum(n) as n
    from (
      select e ->> 0 as scope, e ->> 1 as name, e ->> 2 as counter, (e ->> 3)::bigint as n from jsonb_array_elements(a.counts) e
      union all
      select t.scope, t.name, t.counter, t.n
      from tally t
      where (t.xid = any (ended) or t.xid >= pg_snapshot_xmax(a.snapshot) and t.xid < pg_snapshot_xmax(b)) and pg_visible_in_snapshot(t.xid, b)
    ) u
    group by scope, name, counter
  ) s;
  insert into folds (number, snapshot, counts) values (a.number + 1, b, sums);
  return true;
end $$;

-- How many deliveries of a queue wait or are being worked on. From the counts, not by counting.
create or replace function backlog(queue text) returns bigint
language plpgsql stable set search_path from current
as $$
begin
  perform queue_id(queue);
  return (
    select coalesce(sum(case when c.counter in ('routed', 'redriven') then c.n
                             when c.counter in ('completed', 'dead', 'expired', 'discarded', 'purged') then -c.n else 0 end), 0)
    from counters() c
    where c.scope = 'queue' and c.name = queue);
end $$;

-- The account of every message, in one snapshot. Per queue: what was routed there is ready, scheduled, leased, completed,
-- dead, expired, discarded or purged. Per exchange: what was published was routed, matched no binding, or is not routed
-- yet. What is there is counted row by row; what has ended comes from the counts; `difference` is 0.
create or replace function audit() returns table (
  scope text, name text, routed bigint, ready bigint, scheduled bigint, leased bigint, completed bigint, retried bigint, dead bigint,
  expired bigint, discarded bigint, purged bigint, redriven bigint, published bigint, unmatched bigint, unrouted bigint, difference bigint
)
language plpgsql stable set search_path from current
as $$
#variable_conflict use_column
declare
  here positions;
  a ticks;
  b ticks;
begin
  select * into here from positions where reader = 'router' order by number desc limit 1;
  select * into b from ticks where number = here.tick;
  select * into a from ticks where number = here.tick - 1;
  return query
  with
  c as materialized (select * from counters()),
  q as (
    select q.name,
      coalesce((select n from c where c.scope = 'queue' and c.name = q.name and c.counter = 'routed'), 0) as routed,
      (select count(*) from ready r where r.queue = q.id) as ready,
      (select count(*) from scheduled s where s.queue = q.id) as scheduled,
      (select coalesce(sum(jsonb_array_length(l.deliveries) - (select count(*) from settled s where s.lease = l.id)), 0)::bigint
         from leases l where l.queue = q.id) as leased,
      coalesce((select n from c where c.scope = 'queue' and c.name = q.name and c.counter = 'completed'), 0) as completed,
      coalesce((select n from c where c.scope = 'queue' and c.name = q.name and c.counter = 'retried'), 0) as retried,
      (select count(*) from dead_letters d where d.queue = q.id) as dead,
      coalesce((select n from c where c.scope = 'queue' and c.name = q.name and c.counter = 'expired'), 0) as expired,
      coalesce((select n from c where c.scope = 'queue' and c.name = q.name and c.counter = 'discarded'), 0) as discarded,
      coalesce((select sum(n) from c where c.scope = 'queue' and c.name = q.name and c.counter in ('purged', 'dead-purged')), 0)::bigint as purged,
      coalesce((select n from c where c.scope = 'queue' and c.name = q.name and c.counter = 'redriven'), 0) as redriven
    from queues q
  ),
  log as materialized (
    select o.exchange, count(*) as rows,
      count(*) filter (where o.id > here.floor_id
        and (not pg_visible_in_snapshot(o.xid, b.snapshot)
             or a.number is not null and not pg_visible_in_snapshot(o.xid, a.snapshot) and o.id > here.id)) as unrouted
    from outbox o
    group by o.exchange
  ),
  x as (
    select e.name,
      coalesce((select n from c where c.scope = 'exchange' and c.name = e.name and c.counter = 'emptied'), 0) + coalesce(log.rows, 0) as published,
      coalesce((select n from c where c.scope = 'exchange' and c.name = e.name and c.counter = 'routed'), 0) as routed,
      coalesce((select n from c where c.scope = 'exchange' and c.name = e.name and c.counter = 'unmatched'), 0) as unmatched,
      coalesce(log.unrouted, 0) as unrouted
    from exchanges e
    left join log on log.exchange = e.name
  )
  select 'queue', q.name, q.routed, q.ready, q.scheduled, q.leased, q.completed, q.retried, q.dead, q.expired, q.discarded, q.purged, q.redriven,
         null::bigint, null::bigint, null::bigint,
         q.routed - q.ready - q.scheduled - q.leased - q.completed - q.dead - q.expired - q.discarded - q.purged
  from q
  union all
  select 'exchange', x.name, x.routed, null, null, null, null, null, null, null, null, null, null, x.published, x.unmatched, x.unrouted,
         x.published - x.routed - x.unmatched - x.unrouted
  from x
  order by 1, 2;
end $$;
