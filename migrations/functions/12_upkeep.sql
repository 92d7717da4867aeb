-- Upkeep never delays a publisher by more than 50 ms: every lock that a publisher could wait behind is asked for with a
-- lock_timeout below that, and what did not get it is tried again later (55P03). Each function is one short step under
-- the upkeep turn; it returns whether it did something.

create or replace function upkeep_turn() returns boolean
language plpgsql set search_path from current
as $$
begin
  perform from turns where name = 'upkeep' for update skip locked;
  return found;
end $$;

-- Keeps whole partitions ahead of the ids. The tail is given an end and a new tail begins there; its size follows the
-- recent rate, so that retention holds some twenty. A tail that ids have reached already is first fenced by a constraint
-- that is validated beside the publishers, so that giving it an end scans nothing under a lock. What is fenced refuses ids
-- beyond, so the fence stands far off, and is taken down when half of the way is gone and the end could not be given.
create or replace function make_partitions(_retention_ms double precision) returns boolean
language plpgsql set search_path from current
as $$
declare
  far_off constant bigint := 10000000;
  top bigint := (select last_value from outbox_id);
  tail partitions;
  last_bounded partitions;
  rate double precision;
  size bigint;
  edge bigint;
  fence pg_constraint;
  next_name text;
begin
  if not upkeep_turn() then
    return false;
  end if;
  select * into tail from partitions where to_id is null;
  select * into last_bounded from partitions where to_id = tail.from_id;
  if top < last_bounded.from_id then
    return false;
  end if;

  -- the oldest tick that is kept is an hour old, unless there were few; a burst is not taken for the rate of every minute
  select (n.top_id - o.top_id) / greatest(600, extract(epoch from n.at - o.at)) into rate
  from (select * from ticks order by number desc limit 1) n, (select * from ticks where at >= clock_timestamp() - interval '1 hour' order by number limit 1) o;
  size := least(greatest(coalesce(rate, 0) * _retention_ms / 1000 / 20, 200000), 50000000)::bigint;
  edge := greatest(tail.from_id, top) + size;

  perform set_config('lock_timeout', '40ms', true);
  select * into fence from pg_constraint where conrelid = tail.name::regclass and conname = 'fence';
  if fence.oid is not null then
    edge := substring(pg_get_constraintdef(fence.oid) from e'id"? < ''?(\\d+)')::bigint;
    if edge - top < far_off / 2 then
      execute format('alter table %I drop constraint fence', tail.name);
      return true;
    elsif not fence.convalidated then
      execute format('alter table %I validate constraint fence', tail.name);
      return true;
    end if;
  elsif top >= tail.from_id then
    edge := greatest(edge, top + far_off);
    execute format('alter table %I add constraint fence check (id >= %s and id < %s) not valid', tail.name, tail.from_id, edge);
    return true;
  end if;

  next_name := 'outbox_p' || edge;
  execute format('create table %I (like outbox including all)', next_name);
  lock table only outbox in access exclusive mode;
  perform set_config('lock_timeout', '5ms', true);
  execute format('alter table outbox detach partition %I', tail.name);
  execute format('alter table outbox attach partition %I for values from (%s) to (%s)', tail.name, tail.from_id, edge);
  execute format('alter table outbox attach partition %I for values from (%s) to (maxvalue)', next_name, edge);
  if fence.oid is not null then
    execute format('alter table %I drop constraint fence', tail.name);
  end if;
  update partitions set to_id = edge where name = tail.name;
  insert into partitions (name, from_id) values (next_name, edge);
  return true;
end $$;

-- Empties the oldest partition that is past retention, or of a log that is too large, and read by every reader; what readers of streams
-- have not read that are to be cut off is counted and noted. What a delivery still names is copied to
-- held first, in one scan, so one delayed message never holds a partition. Everything that takes time is done before the lock.
create or replace function empty_partition(_retention_ms double precision, _most_bytes double precision default null) returns text
language plpgsql set search_path from current
as $$
declare
  p partitions;
  newest timestamptz;
  seen pg_snapshot[];
  seen_below xid8;
  floor bigint;
  anything_unread text;
  unread boolean;
  counted jsonb;
begin
  if not upkeep_turn() then
    return null;
  end if;
  p := oldest_partition(_retention_ms, _most_bytes);
  if p.name is null then
    return null;
  end if;
  execute format('select published_at from %I order by id desc limit 1', p.name) into newest;

  -- every reader has done what its tick sees, and what came with a dump
  select min(pg_snapshot_xmin(t.snapshot)::text::numeric)::text::xid8, min(r.floor_id), array_agg(t.snapshot) into seen_below, floor, seen
  from (
    select case when id = 9223372036854775807 then tick else tick - 1 end as tick, floor_id
    from (select distinct on (reader) tick, id, floor_id from positions order by reader, number desc) router
    union
    select g.tick, g.floor_id from groups_read_to() g
  ) r
  cross join lateral tick_of(r.tick) t;
  anything_unread := format('select exists (
    select from %I o cross join unnest($1) s (snapshot) where o.xid >= $2 and o.id > $3 and not pg_visible_in_snapshot(o.xid, s.snapshot))', p.name);
  execute anything_unread into unread using seen, seen_below, floor;
  if unread then
    return null;
  end if;
  if newest is not null then
    execute format(
      'insert into held select o.* from %I o where o.id in (
         select message from ready where message >= $1 and message < $2
         union select message from scheduled where message >= $1 and message < $2
         union select message from parked where message >= $1 and message < $2
         union select (d ->> ''message'')::bigint from leases l cross join jsonb_array_elements(l.deliveries) d
       ) on conflict do nothing', p.name) using p.from_id, p.to_id;
  end if;
  execute format('select jsonb_object_agg(exchange, n) from (select exchange, count(*) as n from %I group by exchange) c', p.name) into counted;

  perform set_config('lock_timeout', '40ms', true);
  execute format('lock table %I in access exclusive mode', p.name);
  -- nobody can add to it now; with what was added since the looks above, all of this waits for the next time
  execute anything_unread into unread using seen, seen_below, floor;
  if unread then
    raise lock_not_available using message = format('Cannot empty "%s": a message was added to it just now', p.name);
  end if;
  perform cut_off(p.name);
  insert into tally (scope, name, counter, n) select 'exchange', c.key, 'emptied', c.value::bigint from jsonb_each_text(counted) c;
  execute format('truncate %I', p.name);
  update partitions set emptied_at = clock_timestamp() where name = p.name;
  return p.name;
end $$;

-- Drops the shells of emptied partitions. Should anybody have put something in one, it is a partition like others again.
create or replace function drop_shells() returns boolean
language plpgsql set search_path from current
as $$
declare
  shells text[] := array(select name from partitions where emptied_at < clock_timestamp() - interval '1 minute');
  shell text;
  used boolean;
begin
  if shells = '{}' or not upkeep_turn() then
    return false;
  end if;
  perform set_config('lock_timeout', '40ms', true);
  lock table only outbox in access exclusive mode;
  perform set_config('lock_timeout', '5ms', true);
  foreach shell in array shells loop
    execute format('lock table %I in access exclusive mode', shell);
    execute format('select exists (select from %I)', shell) into used;
    if used then
      update partitions set emptied_at = null where name = shell;
    else
      execute format('alter table outbox detach partition %I', shell);
      execute format('drop table %I', shell);
      delete from partitions where name = shell;
    end if;
  end loop;
  return true;
end $$;

-- Forgets positions and ticks that no reader needs, but for a tick in a thousand of the last hour, which tell the rate, and
-- all folds but two, which tell the rates of queues. What streams need of the ticks is told at needed_ticks.
create or replace function trim_logs() returns boolean
language plpgsql set search_path from current
as $$
declare
  needed bigint;
begin
  if not upkeep_turn() then
    return false;
  end if;
  delete from positions p using (select reader, max(number) as last from positions group by reader) r
  where p.reader = r.reader and p.number < r.last - 1;
  perform trim_lane_positions();
  needed := (select min(tick) from (select distinct on (reader) tick from positions order by reader, number desc) r);
  delete from ticks
  where number < needed - 1 and (number % 1000 <> 0 or at < clock_timestamp() - interval '1 hour') and number not in (select needed_ticks())
    -- readers of streams have ticks in hand that no position names yet
    and (at < clock_timestamp() - interval '10 minutes' or not exists (select from stream_groups));
  delete from folds where number < (select number from folds order by number desc offset 1 limit 1);
  return true;
end $$;

-- Lets go of held messages that no delivery names any more.
create or replace function trim_held() returns boolean
language plpgsql set search_path from current
as $$
begin
  if not exists (select from held) or not upkeep_turn() then
    return false;
  end if;
  delete from held
  where id in (
    select id from held
    except (
      select message from ready
      union all select message from scheduled
      union all select message from parked
      union all select (d ->> 'message')::bigint from leases l cross join jsonb_array_elements(l.deliveries) d));
  return true;
end $$;

-- The first uuidv7 of a day.
create or replace function first_id(_day date) returns uuid
language sql immutable
as $$ select (lpad(to_hex((_day - date '1970-01-01') * 86400000::bigint), 12, '0') || '70000000000000000000')::uuid $$;

-- Keeps the inbox's parts two days ahead. What a clock far ahead wrote into the tail moves to its day. When that would be much,
-- since no lock was to be had for days, it stays in the tail, where it is cleaned by time.
create or replace function make_inbox_part() returns boolean
language plpgsql set search_path from current
as $$
declare
  much constant integer := 10000;
  tail inbox_parts;
  part text;
  edge uuid;
begin
  select * into tail from inbox_parts where to_day is null;
  if tail.from_day > (clock_timestamp() at time zone 'utc')::date + 2 or not upkeep_turn() then
    return false;
  end if;
  edge := first_id(tail.from_day + 1);
  if (select count(*) > much from (select from inbox_tail where message_id < edge limit much + 1) t) then
    return false;
  end if;
  part := 'inbox_d' || to_char(tail.from_day, 'YYYYMMDD');
  perform set_config('lock_timeout', '40ms', true);
  execute format('create table %I (like inbox including all)', part);
  lock table only inbox in access exclusive mode;
  perform set_config('lock_timeout', '5ms', true);
  alter table inbox detach partition inbox_tail;
  execute format('with gone as (delete from inbox_tail where message_id < %L returning *) insert into %I select * from gone', edge, part);
  execute format('alter table inbox attach partition %I for values from (%L) to (%L)', part, first_id(tail.from_day), edge);
  execute format('alter table inbox attach partition inbox_tail for values from (%L) to (maxvalue)', edge);
  update inbox_parts set from_day = tail.from_day + 1 where name = 'inbox_tail';
  insert into inbox_parts (name, from_day, to_day) values (part, tail.from_day, tail.from_day + 1);
  return true;
end $$;

-- Drops the oldest day of the inbox when its newest id was processed before retention, and gives its range to the head;
-- cleans by time what no day holds.
create or replace function trim_inbox(_retention_ms double precision) returns boolean
language plpgsql set search_path from current
as $$
declare
  border timestamptz := clock_timestamp() - _retention_ms * interval '1 ms';
  part inbox_parts;
  last_pages tid;
  young boolean;
begin
  if not upkeep_turn() then
    return false;
  end if;
  delete from inbox_other where ctid = any (array(select ctid from inbox_other where processed_at < border order by processed_at limit 10000));
  delete from inbox_head where processed_at < border;
  delete from inbox_tail where processed_at < border;
  select * into part from inbox_parts where from_day is not null and to_day is not null order by from_day limit 1;
  if part.name is null or part.to_day > border at time zone 'utc' then
    return false;
  end if;
  -- what was processed last is at the end: most often that answers, and the day need not be read whole every time
  last_pages := format('(%s,0)', greatest(0, pg_relation_size(part.name::regclass) / current_setting('block_size')::integer - 8))::tid;
  execute format('select exists (select from %I where ctid >= $1 and processed_at >= $2)', part.name) into young using last_pages, border;
  if not young then
    execute format('select exists (select from %I where processed_at >= $1)', part.name) into young using border;
  end if;
  if young then
    return false;
  end if;
  perform set_config('lock_timeout', '40ms', true);
  lock table only inbox in access exclusive mode;
  perform set_config('lock_timeout', '5ms', true);
  execute format('alter table inbox detach partition %I', part.name);
  alter table inbox detach partition inbox_head;
  execute format('alter table inbox attach partition inbox_head for values from (minvalue) to (%L)', first_id(part.to_day));
  execute format('drop table %I', part.name);
  delete from inbox_parts where name = part.name;
  update inbox_parts set to_day = part.to_day where name = 'inbox_head';
  return true;
end $$;

-- Forgets keys whose time is over.
create or replace function trim_dedupe() returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
begin
  if not upkeep_turn() then
    return false;
  end if;
  delete from dedupe where ctid = any (array(select ctid from dedupe where until < clock_timestamp() order by until limit 10000));
  return found;
end $$;
