-- Up Migration

-- The deliveries in ready of queues that are claimed by key or limited by bytes, in the lines of their keys ('': without a key).
-- Written with ready by the router and deleted by the claim. ready is the truth: a row here that has none there is passed over
-- and let go. Lines stand in the order of a hash, so that who begins at a random spot begins at any of them alike.
create table lines (
  queue integer not null,
  spot integer not null generated always as (hashtext(key)) stored,
  key text not null,
  priority smallint not null,
  position bigint not null,
  bytes integer not null,
  primary key (queue, spot, key, priority, position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Places of limited queues and keys ('': the queue) that leased deliveries hold. Those of transactions are advisory locks.
create table slots (
  queue integer not null,
  key text not null,
  n integer not null,
  lease bigint not null,
  position bigint not null,
  primary key (queue, key, n)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- What a queue with a rate limit has handed out lately, appended.
create table spent (
  queue integer not null,
  at timestamptz not null,
  n integer not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index spent_at on spent (queue, at);

-- Attempts of a queue with a breaker that failed one after the other, and how many had been completed when the last one did.
create table breakers (
  queue integer primary key references queues (id) on delete cascade,
  failures integer not null,
  completed bigint not null
);

-- Down Migration
drop table breakers, spent, slots, lines;
