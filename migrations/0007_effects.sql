-- Up Migration

-- The effect ledger: one row per operation on the outside (a card charge, a payout, an e-mail), for good. The operation's
-- name comes from the business, so two messages that ask for one charge meet here.
--
--   (none) ──claim──▶ started ──call──▶ outcome known ──record, with the business rows──▶ succeeded | failed
--                        │  ▲                ▲
--                        │  └── claim        │ reconcile, repeat with the same key, late answer, webhook, operator
--                        ▼                   │
--                     unknown ───────────────┘
--                        └── the provider's window has closed ──▶ needs_review ──operator, webhook, late answer──▶ unknown
--
-- `token` counts claims and fences every write of a claim that has been taken over. `outcome` is what is known; `state` says
-- that it is recorded, in one transaction with what the business wrote: so a succeeded operation has its ledger entry.
create table effects (
  operation text primary key,
  state text not null default 'started' check (state in ('started', 'succeeded', 'failed', 'unknown', 'needs_review')),
  kind text not null check (kind in ('keyed', 'idempotent', 'at-most-once')),
  provider text,
  fingerprint text not null,
  token bigint not null default 1,
  claim uuid not null,
  holder text not null,
  lease_until timestamptz,
  key_number smallint not null default 1,
  provider_key uuid not null,
  key_since timestamptz,
  key_window_ms double precision,
  key_calls integer not null default 0,
  key_errors integer not null default 0,
  calls integer not null default 0,
  outcome text check (outcome in ('succeeded', 'failed')),
  reason text,
  response text,
  sealed boolean not null default false,
  contradicted boolean not null default false,
  started_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp(),
  known_at timestamptz,
  ended_at timestamptz,
  check (state not in ('succeeded', 'failed') or (outcome = state and ended_at is not null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index effects_open on effects (changed_at) where state in ('started', 'unknown', 'needs_review') or contradicted;
create index effects_ended on effects (ended_at) where response is not null;

-- What was tried, by whom, under which token, and what came of it. Appended, never changed; a body may be erased.
create table effect_attempts (
  id bigint primary key generated always as identity,
  operation text not null,
  event text not null,
  at timestamptz not null default clock_timestamp(),
  token bigint not null,
  worker text not null,
  call uuid,
  provider_key uuid not null,
  fingerprint text not null,
  late boolean not null default false,
  outcome text,
  reason text,
  status integer,
  response text,
  sealed boolean not null default false
);
create index effect_attempts_operation on effect_attempts (operation, id);
create unique index effect_attempts_call on effect_attempts (call, event);

-- Down Migration
drop table effect_attempts, effects;
