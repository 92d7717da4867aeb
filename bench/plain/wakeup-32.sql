-- The limit of wakeup.32: the same publishing with nobody told. The relay drains as fast as it can, unasked.

-- name: set_up
drop trigger wake on posthaste.outbox;
