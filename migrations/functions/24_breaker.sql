-- The circuit breaker of a queue. Its state is the row of pauses with the source "breaker", seen by all:
--
--   closed ──so many failures in a row──▶ open ──its time is over──▶ half-open ──one delivery is tried──▶ closed, or open for longer
--   (no row)                              (until ahead)              (until past: whoever moves it on has the probe)
--
-- breakers.failures counts what failed since the last completion; −1 while a probe is out. What was completed meanwhile is told by the
-- tally, so that a success costs nothing.

create or replace function completed_of(_queue integer) returns bigint
language sql volatile set search_path from current
as $$
  select coalesce((select c.n from counters() c join queues q on q.name = c.name where q.id = _queue and c.scope = 'queue' and c.counter = 'completed'), 0)
$$;

-- Counts attempts that failed one after the other, in the transaction that records them.
create or replace function note_failures(_queue integer, _failed bigint) returns void
language plpgsql set search_path from current
as $$
declare
  rule jsonb := (select flow -> 'breaker' from queues where id = _queue);
  b breakers;
  done bigint;
begin
  if rule is null or _failed = 0 then
    return;
  end if;
  insert into breakers (queue, failures, completed) values (_queue, 0, 0) on conflict do nothing;
  select * into b from breakers where queue = _queue for update;
  done := completed_of(_queue);
  if b.failures < 0 then
    perform end_probe(_queue, false);
    return;
  end if;
  b.failures := _failed + case when done > b.completed then 0 else b.failures end;
  update breakers set failures = b.failures, completed = done where queue = _queue;
  if b.failures >= (rule ->> 'failures')::integer then
    insert into pauses (queue, source, until, reason)
    values (_queue, 'breaker', clock_timestamp() + (rule ->> 'openMs')::double precision * interval '1 ms', b.failures || ' attempts failed in a row')
    on conflict (queue, source) do nothing;
    if found then
      update breakers set failures = 0 where queue = _queue;
      perform pg_notify(flow_channel(), '');
    end if;
  end if;
end $$;

-- Takes the probe of a half-open breaker for a time; false when it is not half-open, or another has it. What was completed since a
-- probe of which nobody told the end closes the breaker.
create or replace function begin_probe(_queue integer, _probe_ms double precision) returns boolean
language plpgsql set search_path from current
as $$
declare
  b breakers;
  done bigint;
begin
  perform from pauses where queue = _queue and source = 'breaker' and until <= clock_timestamp() for update skip locked;
  if not found then
    return false;
  end if;
  insert into breakers (queue, failures, completed) values (_queue, 0, 0) on conflict do nothing;
  select * into b from breakers where queue = _queue for update;
  done := completed_of(_queue);
  if b.failures < 0 and done > b.completed then
    perform end_probe(_queue, true);
    return false;
  end if;
  update breakers set failures = -1, completed = done where queue = _queue;
  update pauses set until = clock_timestamp() + _probe_ms * interval '1 ms' where queue = _queue and source = 'breaker';
  return true;
end $$;

-- How the probe went: a success closes the breaker, a failure opens it for twice as long as the last time. Null: there was nothing to
-- try, and it is half-open as before.
create or replace function end_probe(_queue integer, _passed boolean) returns void
language plpgsql set search_path from current
as $$
declare
  rule jsonb := (select flow -> 'breaker' from queues where id = _queue);
begin
  update breakers set failures = 0, completed = completed_of(_queue) where queue = _queue;
  if _passed then
    delete from pauses where queue = _queue and source = 'breaker';
  elsif _passed is null then
    update pauses set until = clock_timestamp() where queue = _queue and source = 'breaker';
  else
    update pauses
    set times = times + 1, paused_at = clock_timestamp(), reason = 'it failed again when it was tried',
        until = clock_timestamp() + interval '1 ms' * least(
          coalesce((rule ->> 'maxOpenMs')::double precision, 300000),
          coalesce((rule ->> 'openMs')::double precision, 30000) * power(2, least(times, 30)))
    where queue = _queue and source = 'breaker';
  end if;
  if _passed is not null then
    perform pg_notify(flow_channel(), '');
  end if;
end $$;
