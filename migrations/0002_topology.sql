-- Up Migration

create table exchanges (
  name text primary key,
  kind text not null check (kind in ('default', 'direct', 'fanout', 'topic', 'headers')),
  owner text,
  declared_at timestamptz not null default clock_timestamp()
);
insert into exchanges (name, kind) values ('', 'default');

create table queues (
  id integer primary key generated always as identity,
  name text not null unique,
  kind text not null default 'standard' check (kind in ('standard', 'stream')),
  max_attempts integer not null default 10,
  max_crashes integer not null default 3,
  retry jsonb not null default '{}',
  owner text,
  declared_at timestamptz not null default clock_timestamp()
);

-- A binding admits a message of its exchange whose routing key matches (null: any) and whose type is the given one (null: any).
create table bindings (
  exchange text not null references exchanges (name),
  queue integer not null references queues (id),
  routing_key text,
  pattern text,
  type text,
  match text check (match in ('all', 'any')),
  arguments jsonb,
  owner text,
  declared_at timestamptz not null default clock_timestamp()
);
create unique index bindings_once on bindings
  (exchange, queue, coalesce(routing_key, e'\x01'), coalesce(type, e'\x01'), coalesce(match, ''), coalesce(arguments, '{}'));
create index bindings_queue on bindings (queue);

-- Down Migration
drop table bindings, queues, exchanges;
