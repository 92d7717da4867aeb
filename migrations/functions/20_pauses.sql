-- Where it is told that a queue was paused or resumed, or flows otherwise.
create or replace function flow_channel() returns text
language sql stable set search_path from current
as $$ select 'posthaste.' || current_schema() || '.flow' $$;

-- Why a queue is closed now, and for how long; null for until it is resumed. No row when it is open.
create or replace function closed_by(_queue integer) returns table (source text, until timestamptz, reason text)
language sql stable set search_path from current
as $$
  select source, until, reason
  from pauses
  where queue = _queue and (until is null or until > clock_timestamp())
  order by until desc nulls first, source
  limit 1
$$;

-- Closes a queue for all its consumers, for a time or until it is resumed. A later pause of the same source takes the place of
-- the earlier one, but none is shortened by a handler.
create or replace function pause_queue(_queue integer, _source text, _for_ms double precision, _reason text, _by text) returns timestamptz
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
declare
  closed_until timestamptz;
begin
  insert into pauses as p (queue, source, until, reason, paused_by)
  values (_queue, _source, clock_timestamp() + _for_ms * interval '1 ms', left(_reason, 500), left(_by, 100))
  on conflict (queue, source) do update
  set until = case when _source = 'handler' then greatest(p.until, excluded.until) else excluded.until end,
      reason = excluded.reason, paused_by = excluded.paused_by, times = p.times + 1, paused_at = excluded.paused_at
  returning p.until into closed_until;
  perform pg_notify(flow_channel(), '');
  return closed_until;
end $$;

-- Opens a queue, whoever closed it. False: it was not closed.
create or replace function resume_queue(_queue integer) returns boolean
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
declare
  opened boolean;
begin
  with gone as (
    delete from pauses where queue = _queue returning until
  )
  select coalesce(bool_or(until is null or until > clock_timestamp()), false) into opened from gone;
  perform pg_notify(flow_channel(), '');
  return opened;
end $$;

-- What consumers look at now and then, for all queues of a process at once: which exist, where they have something ready, are closed
-- and for how long (null: until resumed), and by what rules they flow. `_grounds` has ten positions for each queue, to look from; null:
-- it is not looked for what is ready.
create or replace function look_at_queues(_queues integer[], _grounds bigint[])
returns table (queue integer, lowest bigint[], top bigint, closed text, closed_ms double precision, reason text, half_open boolean, flow text)
language sql stable set search_path from current set enable_seqscan = off
as $$
  select q.id, l.lowest, l.top, c.source,
         extract(epoch from c.until - clock_timestamp()) * 1000, c.reason,
         exists (select from pauses p where p.queue = q.id and p.source = 'breaker' and p.until <= clock_timestamp()),
         q.flow::text
  from unnest(_queues) with ordinality a (queue, n)
  join queues q on q.id = a.queue
  cross join lateral lowest_ready(q.id, _grounds[(a.n * 10 - 9)::integer : (a.n * 10)::integer]) l
  left join lateral closed_by(q.id) c on true
$$;

-- For other languages.
create or replace function pause(queue text, reason text default null, duration interval default null) returns void
language plpgsql set search_path from current
as $$
begin
  if duration is not null and duration <= interval '0' then
    raise exception 'Cannot pause "%": duration is not longer than nothing', queue using errcode = 'PH001';
  end if;
  perform pause_queue(queue_id(pause.queue), 'operator', extract(epoch from duration) * 1000, reason, current_user);
end $$;

create or replace function resume(queue text) returns boolean
language sql set search_path from current
as $$ select resume_queue(queue_id(queue)) $$;
