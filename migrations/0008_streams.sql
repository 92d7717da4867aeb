-- Up Migration

-- Ids up to it came with a log of another cluster, whose xids mean nothing beside those of this one.
alter table ticks add column floor_id bigint not null default 0;

-- How the readers of a stream go about what fails, and what becomes of those that lag; null for a standard queue.
alter table queues add column stream jsonb;

-- The readers of a stream. What was published before `since` is not for it. `moved`: the number of the position to which somebody
-- moved it by hand.
create table stream_groups (
  id integer primary key generated always as identity,
  queue integer not null references queues (id) on delete cascade,
  name text not null,
  since timestamptz,
  moved bigint not null default 0,
  paused_until timestamptz,
  paused_by text,
  pause_reason text,
  made_at timestamptz not null default clock_timestamp(),
  unique (queue, name)
);

-- A lane is locked while somebody works on it, and never written.
create table lanes (
  grp integer not null references stream_groups (id) on delete cascade,
  lane smallint not null,
  primary key (grp, lane)
);

-- How far the lanes of a group have come, appended. A lane is where the last row says whose `lanes` (one bit for each) has it:
-- everything that tick `base` sees is done and, of what lies between `base` and `tick`, the ids up to `id`; an id of
-- 9223372036854775807 is: all of it. A lane on a replay goes no further than the replay does, and then back to where it was.
create sequence lane_position_number;
create table lane_positions (
  grp integer not null references stream_groups (id) on delete cascade,
  number bigint not null default nextval('lane_position_number'),
  lanes bigint not null,
  base bigint not null,
  tick bigint not null,
  id bigint not null,
  replay integer,
  at timestamptz not null default clock_timestamp(),
  primary key (grp, number)
);

-- A part of the log that a group reads again: what lies between the positions, published in the window. `number`: what the lanes
-- had reached before.
create table replays (
  id integer primary key generated always as identity,
  grp integer not null references stream_groups (id) on delete cascade,
  tick bigint not null,
  last_id bigint not null,
  since timestamptz,
  before timestamptz,
  number bigint not null,
  by text,
  made_at timestamptz not null default clock_timestamp()
);

-- What is put aside because its head failed: a key with all that came later, a message alone, or a lane. The facts are those of
-- the head.
create table parked_keys (
  grp integer not null references stream_groups (id) on delete cascade,
  key text not null,
  lane smallint not null,
  scope text not null check (scope in ('key', 'message', 'lane')),
  attempts integer not null,
  history jsonb not null,
  due_at timestamptz not null,
  held boolean not null default false,
  parked_at timestamptz not null default clock_timestamp(),
  primary key (grp, key)
);
create index parked_keys_due on parked_keys (grp, due_at) where not held;

-- The messages of parked keys, in their order.
create sequence parked_number;
create table parked (
  grp integer not null,
  key text not null,
  number bigint not null default nextval('parked_number'),
  message bigint not null,
  message_id uuid not null,
  primary key (grp, key, number)
);
create index parked_message on parked (message);

-- The lanes that a process works on outside of a transaction.
create table lane_leases (
  id bigint primary key generated always as identity,
  grp integer not null references stream_groups (id) on delete cascade,
  lanes bigint not null,
  token uuid not null default gen_random_uuid(),
  holder text not null,
  session integer,
  expires_at timestamptz not null
);
create index lane_leases_group on lane_leases (grp);

-- Which group of a stream a message died in; null for a standard queue's.
alter table dead_letters add column grp text;

-- Down Migration
alter table dead_letters drop column grp;
drop table lane_leases, parked, parked_keys, replays, lane_positions, lanes, stream_groups;
drop sequence parked_number, lane_position_number;
alter table queues drop column stream;
alter table ticks drop column floor_id;
