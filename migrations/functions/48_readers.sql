-- Reading the log without a group. Nothing is written down of such a reader, so no tick is kept for it: it keeps the two ticks that
-- it stands between itself, whole. Nor does the log wait for it: it is told when a part that it had not read was emptied.

-- The id from which on the log is kept.
create or replace function log_kept_from() returns bigint
language sql stable set search_path from current
as $$ select coalesce(min(from_id), 0) from partitions where emptied_at is null $$;

-- Where a reader begins that has a position: the ticks that it stands between, and from where the log was kept then.
create or replace function reader_at(_base bigint, _tick bigint, _id bigint, out a text, out b text, out kept_from bigint)
language plpgsql set search_path from current
as $$
declare
  whole constant bigint := 9223372036854775807;
begin
  if _id < whole then
    a := tick_of(_base)::text;
  end if;
  b := tick_of(_tick)::text;
  kept_from := log_kept_from();
  if b is null or _id < whole and a is null then
    raise exception 'Cannot read: the log is not kept from there any more' using errcode = 'PH012';
  end if;
end $$;

-- What comes after a reader's place: up to `_limit` rows of the log, of which no more are returned than `_bytes` hold, the first one
-- whatever its size. `_a` is null for a reader that has done all that `_b` sees. Last comes a row without a message, with the place
-- after them.
create or replace function read_on(
  _queue integer, _a text, _b text, _id bigint, _kept_from bigint, _since timestamptz, _limit integer, _bytes bigint
) returns table (
  id bigint, lane integer, message_id uuid, priority smallint, exchange text, routing_key text, type text, version integer, key text,
  correlation_id text, causation_id text, headers text, payload text, body bytea, content_type text, published_ms double precision,
  expired boolean, a text, b text, kept_from bigint
)
language plpgsql set search_path from current set jit = off
as $$
#variable_conflict use_column
declare
  whole constant bigint := 9223372036854775807;
  low ticks := coalesce(_a, _b)::ticks;
  high ticks := case when _a is null then newest_tick() else _b::ticks end;
  kept bigint := log_kept_from();
begin
  high := tick_within(low, high);
  return query
  with found as materialized (
    select * from read_log(_queue, null, low, high, _id, null, null, _limit, _since, null)
  ),
  fits as materialized (
    select coalesce(sum(octet_length(payload)), 0) + coalesce(sum(octet_length(body)), 0) + coalesce(sum(octet_length(headers)), 0) <= _bytes
             as all_of_them
    from found
  ),
  -- only when they do not fit
  first as materialized (
    select id
    from (select id, message_id, row_number() over () as n,
                 sum(coalesce(octet_length(payload), 0) + coalesce(octet_length(body), 0) + coalesce(octet_length(headers), 0))
                   over (rows unbounded preceding) as bytes
          from found where not (select f.all_of_them from fits f)) summed
    where message_id is not null and (n = 1 or bytes <= _bytes)
  ),
  ends as materialized (
    select case when f.all_of_them then (select id from found where message_id is null) else (select max(id) from first) end as id from fits f
  )
  select id, lane, message_id, priority, exchange, routing_key, type, version, key, correlation_id, causation_id, headers, payload, body,
         content_type, published_ms, expired, null::text, null::text, null::bigint
  from found
  where message_id is not null and id <= (select e.id from ends e)
  union all
  select e.id, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
         case when e.id < whole then low::text end,
         case when e.id < whole or high.number > low.number then high::text else low::text end, kept
  from ends e;

  -- with a later snapshot than that of the rows
  kept := log_kept_from();
  if kept > _kept_from and kept > (case when _id < whole then _id else low.top_id end) + 1 then
    raise exception 'Cannot read: the log is kept from id % on, and was not read as far', kept using errcode = 'PH012';
  end if;
end $$;
