-- Wakes a sleeping relay, and only a sleeping one: NOTIFY takes a cluster-wide lock through commit.
-- A relay about to sleep asks for the sleep lock exclusively. While nobody asks, a publisher gets it shared, for its
-- transaction, and says nothing; from the request on the try fails and publishers notify. A publisher that was silent
-- holds the lock to its end, so the relay's request is granted no sooner than the last silent one has committed.
-- PREPARE TRANSACTION forbids NOTIFY: such producers `set local posthaste.wake = off` and are found by the poll.
--
-- The try is a part of what every message is given by default, its transaction's id: a trigger that tried the same would cost
-- an insert of one message a tenth of its time. Built-in functions alone, and constants for the names of this schema, so that
-- the planner puts the expression itself in place of the call: to prepare a call for each insert costs more than the lock.
-- Whoever is not to wake anybody names the id itself: a dump that is restored, a replica.
do $outer$
begin
  execute format($function$
    create or replace function xid_of_publisher() returns xid8
    language sql
    return case
      when pg_try_advisory_xact_lock_shared(%s, %s) then pg_current_xact_id()
      when current_setting('posthaste.wake', true) = 'off' then pg_current_xact_id()
      when pg_notify(%L, '') is not null then pg_current_xact_id()
    end $function$, lock_class(), lock_object('sleep'), relay_channel());

  if not exists (
    select from pg_attrdef d join pg_attribute a on (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
    where d.adrelid = 'outbox'::regclass and a.attname = 'xid' and pg_get_expr(d.adbin, d.adrelid) like '%xid_of_publisher()'
  ) then
    alter table outbox alter column xid set default xid_of_publisher();
    drop function if exists wake_relay(text);
    drop function if exists xid_of_many();
  end if;
end $outer$;
