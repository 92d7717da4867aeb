-- What is done to groups by hand.

create or replace function pause_group(_group integer, _for_ms double precision, _reason text, _by text) returns void
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
begin
  update stream_groups
  set paused_until = coalesce(clock_timestamp() + _for_ms * interval '1 ms', 'infinity'), pause_reason = left(_reason, 500), paused_by = left(_by, 100)
  where id = _group;
  perform pg_notify(flow_channel(), '');
end $$;

-- False: it was not paused.
create or replace function resume_group(_group integer) returns boolean
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
declare
  was timestamptz := (select paused_until from stream_groups where id = _group);
begin
  update stream_groups set paused_until = null, pause_reason = null, paused_by = null where id = _group;
  perform pg_notify(flow_channel(), '');
  return coalesce(was > clock_timestamp(), false);
end $$;
