-- Where relays are told that a schedule is new, or another.
create or replace function schedules_channel() returns text
language sql stable set search_path from current
as $$ select 'posthaste.' || current_schema() || '.schedules' $$;

-- Declares a schedule and tells the relays. One whose cron and time zone stay as they were keeps its next tick.
create or replace function put_schedule(_name text, _cron text, _time_zone text, _missed text, _message text, _next_at timestamptz, _owner text)
returns timestamptz
language plpgsql set search_path from current
as $$
declare
  message json := _message::json;
  coming timestamptz;
begin
  if not exists (select from exchanges e where e.name = coalesce(message ->> 'exchange', '')) then
    raise exception 'Cannot publish "%": exchange "%" does not exist; declare it first', message ->> 'type', message ->> 'exchange' using errcode = 'PH002';
  end if;
  insert into schedules as s (name, cron, time_zone, missed, message, next_at, owner)
  values (_name, _cron, _time_zone, _missed, message, _next_at, _owner)
  on conflict (name) do update
  set cron = excluded.cron, time_zone = excluded.time_zone, missed = excluded.missed, message = excluded.message,
      owner = coalesce(excluded.owner, s.owner), declared_at = clock_timestamp(),
      next_at = case when s.cron = excluded.cron and s.time_zone = excluded.time_zone then s.next_at else excluded.next_at end
  returning next_at into coming;
  perform pg_notify(schedules_channel(), '');
  return coming;
end $$;

-- The schedules whose tick has come, and the clock they are judged by. When there is none, one row says how long until there is.
create or replace function due_schedules(_limit integer) returns table (
  name text, cron text, time_zone text, missed text, next_at timestamptz, now timestamptz, wait_ms double precision
)
language plpgsql set search_path from current
as $$
#variable_conflict use_column
declare
  now timestamptz := clock_timestamp();
begin
  return query
  select s.name, s.cron, s.time_zone, s.missed, s.next_at, now, 0::double precision
  from schedules s
  where s.next_at <= now
  order by s.next_at
  limit _limit;
  if not found then
    return query
    select null::text, null::text, null::text, null::text, null::timestamptz, now, (extract(epoch from min(s.next_at) - now) * 1000)::double precision
    from schedules s
    where s.next_at < 'infinity'
    having count(*) > 0;
  end if;
end $$;

-- Publishes the ticks of a schedule and moves it on, unless somebody has: one statement, one transaction, so that a tick is
-- published once however many relays find it due, and not at all when the schedule was removed or declared anew meanwhile.
create or replace function fire_schedule(_name text, _expected timestamptz, _next timestamptz, _ticks timestamptz[]) returns boolean
language plpgsql set search_path from current
as $$
declare
  m json;
  tick timestamptz;
begin
  update schedules s set next_at = _next, last_at = coalesce(_ticks[cardinality(_ticks)], s.last_at)
  where s.name = _name and s.next_at = _expected
  returning s.message into m;
  if not found then
    return false;
  end if;
  foreach tick in array _ticks loop
    perform publish(
      m ->> 'exchange', m ->> 'routing_key', m -> 'payload',
      type => m ->> 'type', version => (m ->> 'version')::integer, key => m ->> 'key', priority => (m ->> 'priority')::integer,
      headers => (coalesce((m -> 'headers')::jsonb, '{}') || jsonb_build_object(
        'schedule', _name, 'tick', to_char(tick at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))::json,
      delay => (m ->> 'delay_ms')::double precision * interval '1 ms',
      expires_in => (m ->> 'expires_in_ms')::double precision * interval '1 ms',
      correlation_id => m ->> 'correlation_id', causation_id => m ->> 'causation_id', lock_key => coalesce((m ->> 'lock_key')::boolean, false),
      body => decode(m ->> 'body', 'base64'), content_type => m ->> 'content_type');
  end loop;
  return true;
end $$;
