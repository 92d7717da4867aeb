-- Wakes a sleeping relay, and only a sleeping one: NOTIFY takes a cluster-wide lock through commit.
-- A relay about to sleep asks for the sleep lock exclusively. While nobody asks, a publisher gets it shared, for its
-- transaction, and says nothing; from the request on the try fails and publishers notify. A publisher that was silent
-- holds the lock to its end, so the relay's request is granted no sooner than the last silent one has committed.
-- PREPARE TRANSACTION forbids NOTIFY: such producers `set local posthaste.wake = off` and are found by the poll.
-- The try is the trigger's condition: a publisher that need not speak calls no function.
create or replace function wake_relay() returns trigger
language plpgsql
as $$
begin
  if current_setting('posthaste.wake', true) is distinct from 'off' then
    perform pg_notify('posthaste.' || tg_table_schema, '');
  end if;
  return null;
end $$;

do $$
begin
  if not exists (select from pg_trigger where tgrelid = 'outbox'::regclass and tgname = 'wake') then
    execute format(
      'create trigger wake after insert on outbox for each statement
       when (not pg_try_advisory_xact_lock_shared(1886349416, hashtext(%L))) execute function wake_relay()',
      current_schema() || ':sleep');
  end if;
end $$;
