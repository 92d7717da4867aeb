-- Up Migration

-- The inbox: processed ids. A row is written in the transaction of the effect, so the effect of a message happens once
-- per consumer however often it is delivered. uuidv7 is time-ordered: partitions by message_id keep the key unique and
-- let old ids go by partition.
create table inbox (
  message_id uuid not null,
  consumer text not null,
  processed_at timestamptz not null default clock_timestamp(),
  primary key (message_id, consumer)
) partition by range (message_id);

-- Ids that are not uuidv7 say nothing of time; their rows are cleaned by time instead.
create table inbox_other (
  message_id uuid not null,
  consumer text not null,
  processed_at timestamptz not null default clock_timestamp(),
  primary key (message_id, consumer)
);
create index inbox_other_processed on inbox_other (processed_at);

-- The parts of the inbox by day; the head begins at the lowest id, the tail ends at the highest.
create table inbox_parts (
  name text primary key,
  from_day date,
  to_day date
);
create table inbox_head (like inbox including all);
create table inbox_tail (like inbox including all);
do $$
declare
  today date := (clock_timestamp() at time zone 'utc')::date;
  edge uuid := (lpad(to_hex(((today - date '1970-01-01') * 86400000::bigint)), 12, '0') || '70000000000000000000')::uuid;
begin
  execute format('alter table inbox attach partition inbox_head for values from (minvalue) to (%L)', edge);
  execute format('alter table inbox attach partition inbox_tail for values from (%L) to (maxvalue)', edge);
  insert into inbox_parts (name, from_day, to_day) values ('inbox_head', null, today), ('inbox_tail', today, null);
end $$;

-- What publishers gave a key for: the message that came first.
create table dedupe (
  scope text not null,
  key text not null,
  message_id uuid not null,
  fingerprint text,
  until timestamptz not null,
  primary key (scope, key)
);
create index dedupe_until on dedupe (until);

-- Down Migration
drop table dedupe, inbox_parts, inbox_other, inbox;
