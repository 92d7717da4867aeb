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

-- The parts of the inbox by day; the head begins at the lowest id, the tail ends at the highest. The first days are made
-- here, so that the tail is empty from the start.
create table inbox_parts (
  name text primary key,
  from_day date,
  to_day date
);
do $$
declare
  today date := (clock_timestamp() at time zone 'utc')::date;
  edges uuid[] := array(
    select (lpad(to_hex((today + n - date '1970-01-01') * 86400000::bigint), 12, '0') || '70000000000000000000')::uuid
    from generate_series(0, 3) n order by n);
  part text;
begin
  create table inbox_head (like inbox including all);
  execute format('alter table inbox attach partition inbox_head for values from (minvalue) to (%L)', edges[1]);
  insert into inbox_parts (name, from_day, to_day) values ('inbox_head', null, today);
  for n in 0..2 loop
    part := 'inbox_d' || to_char(today + n, 'YYYYMMDD');
    execute format('create table %I (like inbox including all)', part);
    execute format('alter table inbox attach partition %I for values from (%L) to (%L)', part, edges[n + 1], edges[n + 2]);
    insert into inbox_parts (name, from_day, to_day) values (part, today + n, today + n + 1);
  end loop;
  create table inbox_tail (like inbox including all);
  execute format('alter table inbox attach partition inbox_tail for values from (%L) to (maxvalue)', edges[4]);
  insert into inbox_parts (name, from_day, to_day) values ('inbox_tail', today + 3, null);
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
