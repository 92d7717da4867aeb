-- Up Migration

-- The outbox: what producers said, appended in their own transactions, never updated, never deleted row by row.
-- `id` is a position only (a sequence repeats after a failover); `message_id` is the identity that leaves the table.
-- `xid` is the top-level transaction of the producer: with it a reader between two snapshots finds exactly what
-- committed between them (see ticks below).
create sequence outbox_id;

create table outbox (
  id bigint not null default nextval('outbox_id'),
  xid xid8 not null default pg_current_xact_id(),
  message_id uuid not null,
  exchange text not null,
  routing_key text not null,
  type text not null,
  version integer not null default 1,
  key text,
  priority smallint not null default 0,
  deliver_at timestamptz,
  expires_at timestamptz,
  correlation_id text,
  causation_id text,
  headers json,
  payload json,
  body bytea,
  content_type text,
  published_at timestamptz not null default clock_timestamp(),
  primary key (id)
) partition by range (id);

create index outbox_xid on outbox (xid, id);

-- Every partition of the outbox, by its range of ids; the tail has no end and is replaced before ids reach it.
create table partitions (
  name text primary key,
  from_id bigint not null,
  to_id bigint,
  made_at timestamptz not null default clock_timestamp(),
  emptied_at timestamptz
);

create table outbox_p1 (like outbox including all);
alter table outbox attach partition outbox_p1 for values from (minvalue) to (200001);
create table outbox_p200001 (like outbox including all);
alter table outbox attach partition outbox_p200001 for values from (200001) to (400001);
create table outbox_p400001 (like outbox including all);
alter table outbox attach partition outbox_p400001 for values from (400001) to (maxvalue);

insert into partitions (name, from_id, to_id)
values ('outbox_p1', 0, 200001), ('outbox_p200001', 200001, 400001), ('outbox_p400001', 400001, null);

-- Messages whose partition is to be emptied while a delivery still names them.
create table held (like outbox including all);

-- Snapshots, appended by the relay. Between two of them lie exactly the rows that committed between them.
create table ticks (
  number bigint primary key,
  snapshot pg_snapshot not null,
  top_id bigint not null,
  at timestamptz not null default clock_timestamp()
);

-- How far each reader of the log has come, appended: (tick, id) says that everything before the tick is done and,
-- of what lies between the tick before and this one, the ids up to `id`. An id of 9223372036854775807 is: all of it.
-- Ids up to floor_id are done whatever their xid says (they came with a dump from another cluster).
create sequence position_number;
create table positions (
  reader text not null,
  number bigint not null default nextval('position_number'),
  tick bigint not null,
  id bigint not null,
  floor_id bigint not null default 0,
  system_identifier bigint,
  at timestamptz not null default clock_timestamp(),
  primary key (reader, number)
);

-- A turn is a row that is locked and never written: whoever holds it does the work, everybody else passes by.
create table turns (name text primary key);
insert into turns (name) values ('router'), ('upkeep');

insert into ticks (number, snapshot, top_id) values (1, pg_current_snapshot(), 0);
insert into positions (reader, tick, id, system_identifier)
select 'router', 1, 9223372036854775807, system_identifier from pg_control_system();

-- What every process and language obeys, one row.
create table settings (
  one boolean primary key default true check (one),
  payload_bytes integer not null default 1048576,
  functions text
);
insert into settings default values;

-- Counts, appended in the transaction of each transition and folded later: depth and rates without counting rows.
create table tally (
  xid xid8 not null default pg_current_xact_id(),
  scope text not null,
  name text not null,
  counter text not null,
  n bigint not null
);
create index tally_xid on tally (xid);

-- Sums of the tally up to a snapshot. A reader adds the rows the snapshot does not see.
create table folds (
  number bigint primary key,
  snapshot pg_snapshot not null,
  counts jsonb not null,
  at timestamptz not null default clock_timestamp()
);
insert into folds (number, snapshot, counts) values (1, pg_current_snapshot(), '[]');

-- Down Migration
drop table folds, tally, settings, turns, positions, ticks, held, partitions, outbox;
drop sequence position_number, outbox_id;
