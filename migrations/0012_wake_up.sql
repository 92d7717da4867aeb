-- Up Migration

-- Publishers wake the relay by a default of the outbox, see xid_of_publisher.
drop trigger if exists wake on outbox;
drop function if exists wake_relay();

-- Their parameters are other ones.
drop function if exists relay_cycle(integer, boolean);
drop function if exists promote_due(integer, boolean);
drop function if exists next_lapse(boolean);
drop function if exists suspects(integer, integer, bigint[]);
drop function if exists look_at_queues(integer[]);

-- Nobody asks any more.
drop function if exists ready_queues(integer[]);

-- Down Migration
alter table outbox alter column xid set default pg_current_xact_id();
