-- Up Migration

-- Recurring messages. `message` is an object as publish_all takes it, without an id; `next_at` is the next tick, by which a
-- relay that publishes it claims it: whoever moves it on first publishes. 'infinity': it has no tick any more.
create table schedules (
  name text primary key,
  cron text not null,
  time_zone text not null,
  missed text not null check (missed in ('skip', 'once', 'all')),
  message json not null,
  next_at timestamptz not null,
  last_at timestamptz,
  owner text,
  declared_at timestamptz not null default clock_timestamp()
);
create index schedules_next on schedules (next_at);

-- Requests whose reply somebody waits for. The reply is written by the transaction of the handler; the row goes with it.
create table requests (
  id uuid primary key,
  requester text not null,
  until timestamptz not null,
  reply json,
  replied_at timestamptz
);
create index requests_until on requests (until);

-- Where a copy of what dies in a queue is published, beside the dead letter: {exchange, routingKey}. Null: nowhere.
alter table queues add column dead_letter jsonb;

-- Who did what by hand.
create table journal (
  id bigint primary key generated always as identity,
  at timestamptz not null default clock_timestamp(),
  by text,
  act text not null,
  queue text,
  facts jsonb not null
);

-- Attempts that failed, beside the history that goes with the delivery: what became of a message is told when it is done, too.
create table attempts (
  message_id uuid not null,
  queue integer not null,
  n integer not null,
  fact jsonb not null,
  at timestamptz not null default clock_timestamp(),
  primary key (message_id, queue, n)
);
create index attempts_at on attempts (at);

-- Down Migration
drop table attempts;
drop table journal;
alter table queues drop column dead_letter;
drop table requests, schedules;
