-- Reading the log as a stream. Which rows lie between two ticks, and in what pieces they are read, is told in 06_cursor.sql.

-- The lane of a message: by its key, so that a key has one; without a key by its id. A hash that is the same on every server, as
-- positions by lane may be restored elsewhere.
create or replace function lane_of(_key text, _id uuid) returns integer
language sql stable
as $$ select get_byte(sha256(convert_to(coalesce(_key, _id::text), 'UTF8')), 0) & 63 $$;

-- A message of a stream, or, without a message id, the position after what was read.
do $$
begin
  if to_regtype('stream_row') is null then
    create type stream_row as (
      id bigint, base bigint, tick bigint, lane integer, message_id uuid, priority smallint,
      exchange text, routing_key text, type text, version integer, key text, correlation_id text, causation_id text,
      headers text, payload text, body bytea, content_type text, published_ms double precision, expired boolean
    );
  end if;
end $$;

create or replace function newest_tick() returns ticks
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  tick ticks;
begin
  select * into tick from ticks order by number desc limit 1;
  return tick;
end $$;

-- The looks of the router's cursor, with whole rows: made from its functions, so that the rule which rows lie between two ticks is
-- written once. The router takes the few columns that it needs, and a look at whole rows would cost it twice the time.
do $$
declare
  name text;
  made text;
begin
  foreach name in array array['between_ticks', 'between_ticks_below', 'between_ticks_after'] loop
    made := pg_get_functiondef(format('%I.%I', current_schema(), name)::regproc);
    made := replace(made, name || '(', 'rows_' || name || '(');
    made := regexp_replace(made, e'RETURNS TABLE\\([^)]*\\)', format('RETURNS SETOF %I.outbox', current_schema()));
    made := replace(made, 'select id, message_id, exchange, routing_key, type, priority, deliver_at, headers', 'select *');
    made := replace(made, 'select m.id, m.message_id, m.exchange, m.routing_key, m.type, m.priority, m.deliver_at, m.headers', 'select m.*');
    execute made;
  end loop;
end $$;

-- One look between two ticks, whole rows. Ids beyond B's top are not of the set, whatever their xid says: in a log that was moved
-- to another cluster, they are of what was published there. A set that a move lies in the middle of is what A does not see,
-- up to the floor of B.
create or replace function log_chunk(_state text, _a ticks, _b ticks, _after bigint, _edge bigint, _limit integer) returns setof outbox
language plpgsql set search_path from current set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
begin
  if _state = 'amid' then
    return query select * from rows_between_ticks_after(_a.snapshot, _b.snapshot, greatest(_after, _a.floor_id), _edge, _limit);
  elsif _state = 'moved' then
    return query
      select *
      from outbox
      where id > greatest(_after, _a.floor_id) and id <= _edge and (id > _a.top_id or not pg_visible_in_snapshot(xid, _a.snapshot))
      order by id
      limit _limit;
  elsif _state = 'between' then
    -- those beyond B's top come last
    return query select * from rows_between_ticks(_a.snapshot, _b.snapshot, _a.floor_id, _limit) where id <= _edge;
  else
    return query select * from rows_between_ticks_below(_a.snapshot, _b.snapshot, _a.floor_id, _edge, _limit);
  end if;
end $$;

-- The ticks that a reader stands between; of one that has done all that a tick sees, that tick and the newest, or `_until_tick`.
create or replace function ticks_for(_base bigint, _tick bigint, _id bigint, _until_tick bigint, out a ticks, out b ticks)
language plpgsql set search_path from current
as $$
begin
  if _id < 9223372036854775807 then
    a := tick_of(_base);
    b := tick_of(_tick);
  else
    a := tick_of(_tick);
    b := case when _until_tick is null then newest_tick() else tick_of(_until_tick) end;
  end if;
  if a.number is null or b.number is null then
    raise exception 'Cannot read: the log is kept from tick % on, and the position is older', (select min(number) from ticks) using errcode = 'PH012';
  end if;
  b := tick_within(a, b);
end $$;

-- The tick up to which a reader goes at once: in a log that was moved to another cluster, the first one there.
create or replace function tick_within(_a ticks, _b ticks) returns ticks
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  moved ticks;
begin
  if _b.floor_id > _a.floor_id then
    select * into moved from ticks where number > _a.number and floor_id > _a.floor_id order by number limit 1;
    return moved;
  end if;
  return _b;
end $$;

-- Reads up to `_limit` rows of the log between two ticks after `_id`, and returns those that are the stream's and of the given
-- lanes, or of all when none are given, in their order; last comes a row without a message: the position after them. It is the given one when nothing is new. Not
-- beyond `_until_id` when `_b` is the tick `_until_tick`. Without a queue every row is returned.
create or replace function read_log(
  _queue integer, _lanes bigint, _a ticks, _b ticks, _id bigint, _until_tick bigint, _until_id bigint, _limit integer,
  _since timestamptz, _before timestamptz
) returns setof stream_row
language plpgsql set search_path from current set jit = off set enable_nestloop = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  whole constant bigint := 9223372036854775807;
  stream_name text;
  by_headers boolean;
  a ticks := _a;
  b ticks := _b;
  look record;
begin
  if b.number <= a.number then
    return next row(_id, a.number, a.number, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)::stream_row;
    return;
  end if;
  if b.floor_id > a.floor_id then
    select 'moved' as state, least(b.floor_id, case when _id < whole then _id else a.floor_id end + 20 * _limit) as edge into look;
    b.top_id := b.floor_id;
  else
    look := look_between(_id, a, b, a.floor_id, _limit);
  end if;
  select name into stream_name from queues where id = _queue;
  by_headers := exists (select from bindings g join exchanges e on e.name = g.exchange where g.queue = _queue and e.kind = 'headers');

  return query
  with batch as materialized (
    select id, message_id, priority, exchange, routing_key, type, version, key, correlation_id, causation_id, headers, payload, body,
           content_type, published_at, expires_at
    from log_chunk(look.state, a, b, case when _id < whole then _id else 0 end, look.edge, _limit)
  ),
  kinds as materialized (
    select exchange, routing_key, type from batch group by exchange, routing_key, type
  ),
  mine as materialized (
    select k.exchange, k.routing_key, k.type
    from kinds k
    where _queue is null
      or k.exchange = '' and k.routing_key = stream_name
      or exists (
        select from bindings b
        join exchanges e on e.name = b.exchange
        where b.queue = _queue and b.exchange = k.exchange
          and (b.type is null or b.type = k.type)
          and key_admitted(e.kind, b.routing_key, b.pattern, k.routing_key))
  ),
  -- then no row has to be asked for itself
  all_mine as materialized (
    select (select count(*) from kinds) = (select count(*) from mine) as so
  ),
  after as (
    select case when look.state <> 'moved' then id_after(look.state, look.edge, a, b, _limit, count(*), max(id))
                when count(*) >= _limit then max(id)
                when look.edge >= b.floor_id then whole
                else look.edge end as id
    from batch
  )
  -- in the order in which they were read
  select id, null::bigint, null::bigint, lane, message_id, priority, exchange, routing_key, type, version, key,
         correlation_id, causation_id, headers::text, payload::text, body, content_type,
         date_part('epoch', published_at) * 1000, coalesce(expires_at <= clock_timestamp(), false)
  from (
    select o.*, case when _lanes is not null then lane_of(o.key, o.message_id) end as lane
    from batch o
    where ((select a.so from all_mine a)
        or (o.exchange, o.routing_key, o.type) in (select m.exchange, m.routing_key, m.type from mine m)
        or by_headers and exists (
          select from bindings g
          join exchanges e on e.name = g.exchange
          where g.queue = _queue and e.kind = 'headers' and g.exchange = o.exchange
            and (g.type is null or g.type = o.type)
            and headers_match(o.headers, g.match, g.arguments)))
      and (_until_id is null or b.number is distinct from _until_tick or o.id <= _until_id)
      and (_since is null or o.published_at >= _since)
      and (_before is null or o.published_at < _before)
    offset 0
  ) told
  where _lanes is null or (_lanes >> lane) & 1 = 1
  union all
  select case when b.number = _until_tick and after.id > _until_id then _until_id else after.id end, a.number, b.number,
         null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
  from after;
end $$;

-- The same after a position: see ticks_for.
create or replace function read_stream(
  _queue integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _until_tick bigint, _until_id bigint, _limit integer,
  _since timestamptz, _before timestamptz
) returns setof stream_row
language sql set search_path from current
as $$
  select r.*
  from ticks_for(_base, _tick, _id, _until_tick) p
  cross join lateral read_log(_queue, _lanes, p.a, p.b, _id, _until_tick, _until_id, _limit, _since, _before) r
$$;

-- The position before the first message that a time, or anything later, was published at; what is older comes too, and is to be
-- passed over by the time of its publishing.
create or replace function position_at_time(_at timestamptz, out base bigint, out tick bigint, out id bigint)
language sql stable set search_path from current
as $$
  select n, n, 9223372036854775807
  from (select coalesce((select t.number from ticks t where t.at <= _at order by t.number desc limit 1), 0) as n) t
$$;

create or replace function position_latest(out base bigint, out tick bigint, out id bigint)
language sql stable set search_path from current
as $$ select number, number, 9223372036854775807 from ticks order by number desc limit 1 $$;

-- The position just before a message, or after it; null when the log holds it no more.
create or replace function position_of_message(_id uuid, _after boolean, out base bigint, out tick bigint, out id bigint)
language plpgsql set search_path from current
as $$
declare
  place bigint := find_message(_id);
  m_xid xid8 := (select o.xid from outbox o where o.id = place);
begin
  if m_xid is null then
    return;
  end if;
  select min(t.number) into tick from ticks t where t.floor_id < place and t.top_id >= place and pg_visible_in_snapshot(m_xid, t.snapshot);
  if tick is null then
    select min(t.number) into tick from ticks t where t.floor_id >= place;
  end if;
  if tick is null then
    select p.base, p.tick, p.id into base, tick, id from position_latest() p;
    return;
  end if;
  base := coalesce((select max(t.number) from ticks t where t.number < position_of_message.tick), 0);
  id := place - case when _after then 0 else 1 end;
end $$;
