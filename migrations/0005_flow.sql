-- Up Migration

-- How a queue's deliveries flow, as declared: time to live, limits, rate, fairness, breaker. {} for a plain queue.
alter table queues add column flow jsonb not null default '{}';

-- Why a queue is not consumed now: by an operator, a handler, or the circuit breaker. Closed until a time, or until resumed.
-- A breaker whose time has come is half-open: whoever moves the time on has the probe, and a success deletes the row.
create table pauses (
  queue integer not null references queues (id) on delete cascade,
  source text not null check (source in ('operator', 'handler', 'breaker')),
  until timestamptz,
  reason text,
  paused_by text,
  times integer not null default 1,
  paused_at timestamptz not null default clock_timestamp(),
  primary key (queue, source)
);

-- Down Migration
drop table pauses;
alter table queues drop column flow;
