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
-- planner from the primary key: in its order a set that lies at the end of the log is found by walking all of the log. So there
-- is one plan, whatever is asked, and it is kept: to make it takes many times as long as to find a message by it. Most often
-- nothing was running when A was taken, and the set is one range, in the partitions from the floor on.
create or replace function between_ticks(_a pg_snapshot, _b pg_snapshot, _floor bigint, _limit integer)
returns table (id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamptz, headers json)
language plpgsql set search_path from current set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  ended xid8[];
  low xid8 := pg_snapshot_xmax(_a);
  high xid8 := pg_snapshot_xmax(_b);
begin
  if pg_snapshot_xmin(_a) = low then
    return query
    select id, message_id, exchange, routing_key, type, priority, deliver_at, headers
    from outbox
    where xid >= low and xid < high
      and pg_visible_in_snapshot(xid, _b)
      and id > _floor
    order by id + 0
    limit _limit;
    return;
  end if;

  -- each in a part of its own: of both at once, a plan that is kept may take a look at all of the log for the shorter way
  ended := ended_between(_a, _b);
  return query
  select m.id, m.message_id, m.exchange, m.routing_key, m.type, m.priority, m.deliver_at, m.headers
  from (
    select o.* from unnest(ended) e (xid) cross join lateral (select * from outbox where xid = e.xid and id + 0 > _floor offset 0) o
    union all
    select * from outbox where xid >= low and xid < high and id + 0 > _floor
  ) m
  where pg_visible_in_snapshot(m.xid, _b)
  order by m.id + 0
  limit _limit;
end $$;

-- The same, of ids up to `_top` alone. Of a large set most lies above what was the top when A was taken; this finds what
-- lies below from the index, in one pass that reads no other row.
create or replace function between_ticks_below(_a pg_snapshot, _b pg_snapshot, _floor bigint, _top bigint, _limit integer)
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
    and id + 0 > _floor and id <= _top
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

-- Where the walk goes on beyond a gap: the lowest id above `_after` that may be of the set, or null. Up to what was the top
-- when A was taken, ids are those of the set; above, they are those of whatever is there.
create or replace function next_between_ticks(_a pg_snapshot, _a_top bigint, _b pg_snapshot, _after bigint) returns bigint
language plpgsql set search_path from current set enable_seqscan = off set jit = off
as $$
declare
  ended xid8[] := ended_between(_a, _b);
  low xid8 := pg_snapshot_xmax(_a);
  high xid8 := pg_snapshot_xmax(_b);
begin
  return coalesce(
    (select min(id + 0)
     from outbox
     where (xid = any (ended) or xid >= low and xid < high)
       and pg_visible_in_snapshot(xid, _b)
       and id > _after and id <= _a_top),
    (select id from outbox where id > greatest(_after, _a_top) order by id limit 1));
end $$;

-- The largest id there is, from the end of the index of the last partition that has something.
create or replace function top_id() returns bigint
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
begin
  return coalesce((select id from outbox order by id desc limit 1), 0);
end $$;

-- How far a reader has come, and a tick, of which the one numbered 0 sees nothing: read from the ends of their indexes, also when they were a page long at the time the
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
  if _number = 0 then
    return row(0, '3:3:', 0, '-infinity', 0)::ticks;
  end if;
  select * into tick from ticks where number = _number;
  return tick;
end $$;

-- How a reader whose position is (tick, id) reads what lies between the ticks A and B. No look takes longer than a chunk and a
-- stretch do, whatever the backlog, but for a pass through the index in far.
--
--   between   everything that A sees is done: one chunk of what lies between A and B
--   far       the same, when many ids were given since A: one chunk of what lies below A's top, the rest is left for amid
--   amid      the set between A and B did not fit one chunk: on by the next ids, a stretch at a time; an empty stretch is a gap in
--             the set, which is leapt over
--
-- `edge`: the id up to which the look reads.
create or replace function look_between(_id bigint, _a ticks, _b ticks, _floor bigint, _chunk integer, out state text, out edge bigint)
language plpgsql immutable set search_path from current
as $$
declare
  stretch constant bigint := 20 * _chunk;
begin
  if _id < 9223372036854775807 then
    state := 'amid';
    edge := least(_b.top_id, greatest(_id, _floor) + stretch);
  elsif _b.top_id - _a.top_id > stretch then
    state := 'far';
    edge := _a.top_id;
  else
    state := 'between';
    edge := _b.top_id;
  end if;
end $$;

-- The id of the reader's position after such a look found so many messages, the last of them at `_last_id`.
create or replace function id_after(_state text, _edge bigint, _a ticks, _b ticks, _chunk integer, _messages bigint, _last_id bigint) returns bigint
language plpgsql set search_path from current
as $$
declare
  whole constant bigint := 9223372036854775807;
begin
  if _messages >= _chunk then
    return _last_id;
  end if;
  return case _state
    when 'between' then whole
    when 'far' then _edge
    else case
      when _edge >= _b.top_id then whole
      when _messages > 0 then _edge
      else coalesce(next_between_ticks(_a.snapshot, _a.top_id, _b.snapshot, _edge) - 1, whole)
    end
  end;
end $$;
