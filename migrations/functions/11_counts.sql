-- The sums of a fold and of what has come since, both as arrays of [scope, name, counter, n].
create or replace function add_to_fold(_counts jsonb, _since jsonb) returns jsonb
language sql immutable set search_path from current
as $$
  select coalesce(jsonb_agg(jsonb_build_array(u.scope, u.name, u.counter, u.n) order by u.scope, u.name, u.counter), '[]')
  from (
    select e ->> 0 as scope, e ->> 1 as name, e ->> 2 as counter, sum((e ->> 3)::bigint) as n
    from jsonb_array_elements(_counts || coalesce(_since, '[]')) e
    group by 1, 2, 3
  ) u
$$;

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

-- Sums up the tally to now and deletes what it has summed up: a reader sees either the rows or the new sum. What the fold
-- before could see is gone with it, so only what came later is looked for.
create or replace function fold_tally() returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  a folds;
  running xid8[];
begin
  if not upkeep_turn() then
    return false;
  end if;
  select * into a from folds order by number desc limit 1;
  running := array(select pg_snapshot_xip(a.snapshot));
  with gone as (
    delete from tally t where t.xid = any (running) or t.xid >= pg_snapshot_xmax(a.snapshot) returning scope, name, counter, n
  )
  insert into folds (number, snapshot, counts)
  select a.number + 1, pg_current_snapshot(), add_to_fold(a.counts, jsonb_agg(jsonb_build_array(scope, name, counter, n)))
  from gone
  having count(*) > 0;
  return found;
end $$;

-- Sums up everything that is in the tally, whatever its xid says: after a restore into another cluster xids begin anew. The
-- caller has locked the tally.
create or replace function refold_tally() returns void
language sql set search_path from current
as $$
  with gone as (
    delete from tally returning scope, name, counter, n
  )
  insert into folds (number, snapshot, counts)
  select a.number + 1, pg_current_snapshot(), add_to_fold(a.counts, (select jsonb_agg(jsonb_build_array(scope, name, counter, n)) from gone))
  from (select * from folds order by number desc limit 1) a
$$;

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
--
-- Volatile, so that its one statement takes its snapshot after it has locked the partitions: TRUNCATE shows at once to every
-- snapshot. (For the same reason a REPEATABLE READ snapshot that is older than the emptying of a partition has lost its rows.)
create or replace function audit() returns table (
  scope text, name text, routed bigint, ready bigint, scheduled bigint, leased bigint, completed bigint, retried bigint, dead bigint,
  expired bigint, discarded bigint, purged bigint, redriven bigint, published bigint, unmatched bigint, unrouted bigint, difference bigint
)
language plpgsql set search_path from current
as $$
#variable_conflict use_column
declare
  cluster bigint := (select system_identifier from pg_control_system());
begin
  return query
  with
  here as materialized (select * from positions where reader = 'router' order by number desc limit 1),
  b as materialized (select * from ticks where number = (select tick from here)),
  a as materialized (select * from ticks where number = (select tick - 1 from here)),
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
             or here.system_identifier is distinct from cluster and o.id > b.top_id
             or a.number is not null and not pg_visible_in_snapshot(o.xid, a.snapshot) and o.id > here.id)) as unrouted
    from outbox o
    cross join here
    cross join b
    left join a on true
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
