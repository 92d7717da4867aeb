-- The limit of wakeup.32: the same publishing with nobody told. The relay drains as fast as it can, unasked.

-- name: set_up
alter table posthaste.outbox alter column xid set default pg_current_xact_id();
