-- Makes a session fit to wait for days: the server finds out within half a minute that the host of its client is gone (that
-- the client alone has died it finds out by client_connection_check_interval, which every session of ours sets: a dead relay
-- that waits for the sleep lock would otherwise keep the duty as long as some publisher is open). Answers false on a
-- standby, where advisory locks are granted and mean nothing.
create or replace function prepare_to_wait() returns boolean
language plpgsql
as $$
begin
  perform set_config(name, value, false)
  from (values ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')) as keepalive (name, value);
  return not pg_is_in_recovery();
end $$;

-- Waits for the duty lock, which the session then holds to its end; false when it is still another's after the given time.
-- In slices, because a backend that waits for an advisory lock holds a snapshot: without an end it would keep vacuum from
-- everything that dies meanwhile, for as long as the one on duty lives. A timeout that is caught leaves no line in the log.
create or replace function wait_for_duty(_patience_ms integer) returns boolean
language plpgsql set search_path from current
as $$
begin
  perform set_config('lock_timeout', _patience_ms::text, true);
  perform pg_advisory_lock(lock_class(), lock_object('duty'));
  return true;
exception when lock_not_available then
  return false;
end $$;
