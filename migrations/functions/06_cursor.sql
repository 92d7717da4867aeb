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

-- The first `_limit` messages between two ticks, in the order of id, read through the index on (xid, id).
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
    and id > _floor
  order by id
  limit _limit;
end $$;

-- The next `_limit` messages after `_after` between two ticks, when there are more than fit one chunk: read in the order
-- of id through the primary key, so that a large set is walked once and never sorted again.
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

-- After a restore into another cluster xids start again: what the old tick does not see, or came after its top id.
create or replace function unrouted_after_restore(_a pg_snapshot, _top bigint)
returns table (id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamptz, headers json)
language sql set search_path from current
as $$
  select id, message_id, exchange, routing_key, type, priority, deliver_at, headers
  from outbox
  where id > _top or not pg_visible_in_snapshot(xid, _a)
  order by id
$$;

-- The largest id there is.
create or replace function top_id() returns bigint
language sql set search_path from current
as $$ select coalesce((select id from outbox order by id desc limit 1), 0) $$;
