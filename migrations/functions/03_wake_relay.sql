-- Wakes a sleeping relay, and only a sleeping one: NOTIFY takes a cluster-wide lock through commit.
-- A relay about to sleep asks for the sleep lock exclusively. While nobody asks, a publisher gets it shared, for its
-- transaction, and says nothing; from the request on the try fails and publishers notify. A publisher that was silent
-- holds the lock to its end, so the relay's request is granted no sooner than the last silent one has committed.
-- PREPARE TRANSACTION forbids NOTIFY: such producers `set local posthaste.wake = off` and are found by the poll.
--
-- The try is a part of what every message is given by default, its transaction's id: a trigger that tried the same would cost
-- an insert of one message a tenth of its time. Whoever is not to wake anybody names the id itself: a dump that is restored,
-- a replica.
create or replace function wake_relay(_schema text) returns xid8
language plpgsql
as $$
begin
  if current_setting('posthaste.wake', true) is distinct from 'off' then
    perform pg_notify('posthaste.' || _schema, '');
  end if;
  return pg_current_xact_id();
end $$;

-- The same for a statement that adds many messages: one try for all of them.
create or replace function xid_of_many() returns xid8
language plpgsql set search_path from current
as $$
begin
  if pg_try_advisory_xact_lock_shared(lock_class(), lock_object('sleep')) then
    return pg_current_xact_id();
  end if;
  return wake_relay(current_schema());
end $$;

do $$
begin
  if not exists (
    select from pg_attrdef d join pg_attribute a on (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
    where d.adrelid = 'outbox'::regclass and a.attname = 'xid' and pg_get_expr(d.adbin, d.adrelid) like '%wake_relay%'
  ) then
    execute format(
      'alter table outbox alter column xid set default
       case when pg_try_advisory_xact_lock_shared(1886349416, hashtext(%L)) then pg_current_xact_id() else wake_relay(%L) end',
      current_schema() || ':sleep', current_schema());
  end if;
end $$;
