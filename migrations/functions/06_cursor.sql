-- The cursor. Why it misses nothing and repeats nothing:
--
-- A snapshot S splits all transactions: S sees a transaction (it had committed when S was taken) or does not. Take two
-- snapshots A before B of the same server. What B sees and A does not are the transactions that committed between them:
-- those that A lists as running (xip) and B no longer does, and those that began at or after A.xmax, below B.xmax, and B
-- sees. Every transaction that ever commits is first seen by exactly one tick, so it lies between exactly one pair of
-- neighbouring ticks. A row carries the xid of its top-level transaction, so savepoints change nothing; a prepared
-- transaction is a running one until COMMIT PREPARED. An id is never compared between transactions: a row that commits
-- late with a low id lies between later ticks and is read then. Within one pair of ticks rows are read in the order of id.
--
-- The rows are read by a statement whose own snapshot was taken after B, so whatever B sees is there; the filter
-- pg_visible_in_snapshot(xid, B) leaves out what committed since.

-- The transactions that A lists as running and B does not.
create or replace function ended_between(_a pg_snapshot, _b pg_snapshot) returns xid8[]
language sql immutable set search_path from current
as $$
  select coalesce(array_agg(x), '{}')
  from (select pg_snapshot_xip(_a) except select pg_snapshot_xip(_b)) ended (x)
$$;

-- The first `_limit` messages between two ticks, in the order of id, read through the index on (xid, id). The sums keep the
-- planner from the primary key: in its order a set that lies at the end of the log is found by walking all of the log.
create or replace function between_ticks(_a pg_snapshot, _b pg_snapshot, _floor bigint, _limit integer)
returns table (id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamptz, headers json)
language plpgsql set search_path from current set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
  ended xid8[] := ended_between(_a, _b);
  low xid8 := pg_snapshot_xmax(_a);
  high xid8 := pg_snapshot_xmax(_b);
begin
  return query
  select id, message_id, exchange, routing_key, type, priority, deliver_at, headers
  from outbox
  where (xid = any (ended) or xid >= low and xid < high)
    and pg_visible_in_snapshot(xid, _b)
    and id + 0 > _floor
  order by id + 0
  limit _limit;
end $$;

-- The next `_limit` messages after `_after` and up to `_top` between two ticks, when there are more than fit one chunk: read
-- in the order of id through the primary key, so that a large set is walked once and never sorted again. What lies between
-- its ids and is not of the set is walked too, so `_top` has to be near.
create or replace function between_ticks_after(_a pg_snapshot, _b pg_snapshot, _after bigint, _top bigint, _limit integer)
returns table (id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamptz, headers json)
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
#variable_conflict use_column
declare
  ended xid8[] := ended_between(_a, _b);
  low xid8 := pg_snapshot_xmax(_a);
  high xid8 := pg_snapshot_xmax(_b);
begin
  return query
  select id, message_id, exchange, routing_key, type, priority, deliver_at, headers
  from outbox
  where id > _after and id <= _top
    and (xid = any (ended) or xid >= low and xid < high)
    and pg_visible_in_snapshot(xid, _b)
  order by id
  limit _limit;
end $$;

-- The lowest id above `_after` between two ticks, or null: where the walk goes on beyond a gap in the set.
create or replace function next_between_ticks(_a pg_snapshot, _b pg_snapshot, _after bigint) returns bigint
language plpgsql set search_path from current set enable_seqscan = off set jit = off
as $$
declare
  ended xid8[] := ended_between(_a, _b);
  low xid8 := pg_snapshot_xmax(_a);
  high xid8 := pg_snapshot_xmax(_b);
begin
  return (
    select min(id + 0)
    from outbox
    where (xid = any (ended) or xid >= low and xid < high)
      and pg_visible_in_snapshot(xid, _b)
      and id > _after);
end $$;

-- B, or when some `_limit` messages of transactions that began after A lie between, a snapshot before it: the one that sees
-- what B sees of the transactions below an xid. All of what A sees it sees, and B sees all of what it sees, so the rule above
-- holds between A and it, and between it and B: a backlog is taken in slices, and none is larger than a few chunks unless one
-- transaction is.
create or replace function tick_before(_a pg_snapshot, _b pg_snapshot, _limit integer) returns pg_snapshot
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
  low xid8 := pg_snapshot_xmax(_a);
  high xid8 := pg_snapshot_xmax(_b);
  cut bigint;
  running bigint[];
begin
  select xid::text::bigint into cut from outbox where xid >= low and xid < high order by xid offset _limit limit 1;
  if cut is null then
    return _b;
  end if;
  cut := greatest(cut, low::text::bigint + 1);
  running := array(select x::text::bigint from pg_snapshot_xip(_b) x where x::text::bigint < cut order by 1);
  return format('%s:%s:%s', coalesce(running[1], cut), cut, array_to_string(running, ','))::pg_snapshot;
end $$;

-- The largest id there is, from the end of the index of the last partition that has something.
create or replace function top_id() returns bigint
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
begin
  return coalesce((select id from outbox order by id desc limit 1), 0);
end $$;

-- How far a reader has come, and a tick: read from the ends of their indexes, also when they were a page long at the time the
-- plan was made.
create or replace function position_of(_reader text) returns positions
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  here positions;
begin
  select * into here from positions where reader = _reader order by number desc limit 1;
  return here;
end $$;

create or replace function tick_of(_number bigint) returns ticks
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  tick ticks;
begin
  select * into tick from ticks where number = _number;
  return tick;
end $$;
