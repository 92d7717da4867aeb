-- Up Migration

-- The shapes of messages, as the services that publish and handle them have declared them: a JSON Schema by type and version.
-- Null: the schema library cannot write one. `encrypted` are the paths of the payload that are stored encrypted.
create table contracts (
  name text not null,
  version integer not null,
  exchange text not null,
  schema json,
  vendor text,
  encrypted text[] not null default '{}',
  owner text,
  declared_at timestamptz not null default clock_timestamp(),
  primary key (name, version)
);

-- What consumers that know only earlier versions of a contract do with a message: leave it to others, or keep it as a dead letter.
alter table queues add column newer_versions text not null default 'leave' check (newer_versions in ('leave', 'dead-letter'));

-- The operations on the outside that handlers of a message have run: what `trace` tells beside the attempts.
create table effect_causes (
  message_id uuid not null,
  operation text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (message_id, operation)
);
create index effect_causes_at on effect_causes (at);

-- Down Migration
drop table effect_causes;
alter table queues drop column newer_versions;
drop table contracts;
