-- Up Migration

-- A delivery is one message for one queue. It is in exactly one of four places, or has ended:
--
--   ready ──claim──▶ (a consumer's transaction) ──commit──▶ completed, discarded, expired      counted in the tally
--     ▲                    │ failed                    └──▶ dead_letters                       kept whole
--     │                    ▼
--     └───── due ───── scheduled ◀── redrive, lapsed lease
--   ready ──lease──▶ leases ──settle──▶ the same ends
--
-- ready is claimed in order of (queue, priority, position) and deleted by the claim. `position` is given under the
-- router's turn, so what becomes visible later has a higher one; `priority` is stored as 9 − p, so 9 is most urgent.
-- A row whose raw xmax is not 0 came back from a claim that did not commit: it is suspect (see claim).
create sequence ready_position;
create table ready (
  queue integer not null,
  priority smallint not null,
  position bigint not null default nextval('ready_position'),
  message bigint not null,
  message_id uuid not null,
  attempts integer not null default 0,
  crashes integer not null default 0,
  history jsonb,
  primary key (queue, priority, position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_insert_threshold = 50000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
        autovacuum_vacuum_cost_delay = 0);

create index ready_charged on ready (queue, priority, position) where crashes > 0;

-- What is delayed or retried, until it is due.
create table scheduled (
  due_at timestamptz not null,
  position bigint not null default nextval('ready_position'),
  queue integer not null,
  priority smallint not null,
  message bigint not null,
  message_id uuid not null,
  attempts integer not null default 0,
  crashes integer not null default 0,
  history jsonb,
  primary key (due_at, position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index scheduled_message on scheduled (message_id);

-- The right to attempt a batch of deliveries until a time; one row per batch. `deliveries` holds what ready held.
create table leases (
  id bigint primary key generated always as identity,
  token uuid not null default gen_random_uuid(),
  queue integer not null,
  holder text not null,
  expires_at timestamptz not null,
  deliveries jsonb not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index leases_expires on leases (expires_at);

-- What of a batch is settled already. Inserted under FOR KEY SHARE of the lease, so handlers of one batch never wait
-- for each other and renewal never waits for them.
create table settled (
  lease bigint not null,
  position bigint not null,
  primary key (lease, position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- A delivery that ended badly: the whole message, why, and every attempt.
create table dead_letters (
  id bigint primary key generated always as identity,
  queue integer not null,
  reason text not null,
  history jsonb not null default '[]',
  attempts integer not null,
  crashes integer not null,
  dead_at timestamptz not null default clock_timestamp(),
  message bigint not null,
  message_id uuid not null,
  exchange text,
  routing_key text,
  type text,
  version integer,
  key text,
  priority smallint not null,
  correlation_id text,
  causation_id text,
  headers json,
  payload json,
  body bytea,
  content_type text,
  published_at timestamptz
);
create index dead_letters_queue on dead_letters (queue, id);
create index dead_letters_message on dead_letters (message_id);

-- Down Migration
drop table dead_letters, settled, leases, scheduled, ready;
drop sequence ready_position;
