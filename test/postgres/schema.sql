create sequence lane_position_number cache 1;

create sequence migrations_id_seq cache 1;

create sequence outbox_id cache 1;

create sequence parked_number cache 1;

create sequence position_number cache 1;

create sequence ready_position cache 1;

create type claimed as (
  priority smallint,
  "position" bigint,
  message bigint,
  message_id uuid,
  attempts integer,
  crashes integer,
  history jsonb,
  duplicate boolean,
  missing boolean,
  expired boolean,
  exchange text,
  routing_key text,
  type text,
  version integer,
  key text,
  correlation_id text,
  causation_id text,
  headers text,
  payload text,
  body bytea,
  content_type text,
  published_at timestamp with time zone
);

create type keyed as (
  n integer,
  type text,
  key text,
  window_ms double precision,
  prints text[]
);

create type stream_row as (
  id bigint,
  base bigint,
  tick bigint,
  lane integer,
  message_id uuid,
  priority smallint,
  exchange text,
  routing_key text,
  type text,
  version integer,
  key text,
  correlation_id text,
  causation_id text,
  headers text,
  payload text,
  body bytea,
  content_type text,
  published_ms double precision,
  expired boolean
);

create table attempts (
  message_id uuid not null,
  queue integer not null,
  n integer not null,
  fact jsonb not null,
  at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (message_id, queue, n)
);
CREATE INDEX attempts_at ON attempts USING btree (at);

create table bindings (
  exchange text not null,
  queue integer not null,
  routing_key text,
  pattern text,
  type text,
  match text,
  arguments jsonb,
  owner text,
  declared_at timestamp with time zone not null default clock_timestamp(),
  FOREIGN KEY (exchange) REFERENCES exchanges(name),
  FOREIGN KEY (queue) REFERENCES queues(id),
  CHECK ((match = ANY (ARRAY['all'::text, 'any'::text])))
);
CREATE UNIQUE INDEX bindings_once ON bindings USING btree (exchange, queue, COALESCE(routing_key, '⟨1⟩'::text), COALESCE(type, '⟨1⟩'::text), COALESCE(match, ''::text), COALESCE(arguments, '{}'::jsonb));
CREATE INDEX bindings_queue ON bindings USING btree (queue);

create table breakers (
  queue integer not null,
  failures integer not null,
  completed bigint not null,
  PRIMARY KEY (queue),
  FOREIGN KEY (queue) REFERENCES queues(id) ON DELETE CASCADE
);

create table contracts (
  name text not null,
  version integer not null,
  exchange text not null,
  schema json,
  vendor text,
  encrypted text[] not null default '{}'::text[],
  owner text,
  declared_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (name, version)
);

create table dead_letters (
  id bigint not null generated always as identity,
  queue integer not null,
  reason text not null,
  history jsonb not null default '[]'::jsonb,
  attempts integer not null,
  crashes integer not null,
  dead_at timestamp with time zone not null default clock_timestamp(),
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
  published_at timestamp with time zone,
  grp text,
  PRIMARY KEY (id)
);
CREATE INDEX dead_letters_message ON dead_letters USING btree (message_id);
CREATE INDEX dead_letters_queue ON dead_letters USING btree (queue, id);

create table dedupe (
  scope text not null,
  key text not null,
  message_id uuid not null,
  fingerprint text,
  until timestamp with time zone not null,
  PRIMARY KEY (scope, key)
);
CREATE INDEX dedupe_until ON dedupe USING btree (until);

create table effect_attempts (
  id bigint not null generated always as identity,
  operation text not null,
  event text not null,
  at timestamp with time zone not null default clock_timestamp(),
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
  sealed boolean not null default false,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX effect_attempts_call ON effect_attempts USING btree (call, event);
CREATE INDEX effect_attempts_operation ON effect_attempts USING btree (operation, id);

create table effect_causes (
  message_id uuid not null,
  operation text not null,
  at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (message_id, operation)
);
CREATE INDEX effect_causes_at ON effect_causes USING btree (at);

create table effects (
  operation text not null,
  state text not null default 'started'::text,
  kind text not null,
  provider text,
  fingerprint text not null,
  token bigint not null default 1,
  claim uuid not null,
  holder text not null,
  lease_until timestamp with time zone,
  key_number smallint not null default 1,
  provider_key uuid not null,
  key_since timestamp with time zone,
  key_window_ms double precision,
  key_calls integer not null default 0,
  key_errors integer not null default 0,
  calls integer not null default 0,
  outcome text,
  reason text,
  response text,
  sealed boolean not null default false,
  contradicted boolean not null default false,
  started_at timestamp with time zone not null default clock_timestamp(),
  changed_at timestamp with time zone not null default clock_timestamp(),
  known_at timestamp with time zone,
  ended_at timestamp with time zone,
  PRIMARY KEY (operation),
  CHECK (((state <> ALL (ARRAY['succeeded'::text, 'failed'::text])) OR ((outcome = state) AND (ended_at IS NOT NULL)))),
  CHECK ((kind = ANY (ARRAY['keyed'::text, 'idempotent'::text, 'at-most-once'::text]))),
  CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'failed'::text]))),
  CHECK ((state = ANY (ARRAY['started'::text, 'succeeded'::text, 'failed'::text, 'unknown'::text, 'needs_review'::text])))
)
with (
  autovacuum_vacuum_cost_delay=0,
  autovacuum_vacuum_scale_factor=0,
  autovacuum_vacuum_threshold=5000,
  fillfactor=70
);
CREATE INDEX effects_ended ON effects USING btree (ended_at) WHERE (response IS NOT NULL);
CREATE INDEX effects_open ON effects USING btree (changed_at) WHERE ((state = ANY (ARRAY['started'::text, 'unknown'::text, 'needs_review'::text])) OR contradicted);

create table exchanges (
  name text not null,
  kind text not null,
  owner text,
  declared_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (name),
  CHECK ((kind = ANY (ARRAY['default'::text, 'direct'::text, 'fanout'::text, 'topic'::text, 'headers'::text])))
);

create table folds (
  number bigint not null,
  snapshot pg_snapshot not null,
  counts jsonb not null,
  at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (number)
);

create table held (
  id bigint not null default nextval('outbox_id'::regclass),
  xid xid8 not null default pg_current_xact_id(),
  message_id uuid not null,
  exchange text not null,
  routing_key text not null,
  type text not null,
  version integer not null default 1,
  key text,
  priority smallint not null default 0,
  deliver_at timestamp with time zone,
  expires_at timestamp with time zone,
  correlation_id text,
  causation_id text,
  headers json,
  payload json,
  body bytea,
  content_type text,
  published_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (id)
);
CREATE INDEX held_xid_id_idx ON held USING btree (xid, id);

create table inbox (
  message_id uuid not null,
  consumer text not null,
  processed_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (message_id, consumer)
) partition by RANGE (message_id);

create table inbox_other (
  message_id uuid not null,
  consumer text not null,
  processed_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (message_id, consumer)
);
CREATE INDEX inbox_other_processed ON inbox_other USING btree (processed_at);

create table inbox_parts (
  name text not null,
  from_day date,
  to_day date,
  PRIMARY KEY (name)
);

create table journal (
  id bigint not null generated always as identity,
  at timestamp with time zone not null default clock_timestamp(),
  by text,
  act text not null,
  queue text,
  facts jsonb not null,
  PRIMARY KEY (id)
);

create table lane_leases (
  id bigint not null generated always as identity,
  grp integer not null,
  lanes bigint not null,
  token uuid not null default gen_random_uuid(),
  holder text not null,
  session integer,
  expires_at timestamp with time zone not null,
  PRIMARY KEY (id),
  FOREIGN KEY (grp) REFERENCES stream_groups(id) ON DELETE CASCADE
);
CREATE INDEX lane_leases_group ON lane_leases USING btree (grp);

create table lane_positions (
  grp integer not null,
  number bigint not null default nextval('lane_position_number'::regclass),
  lanes bigint not null,
  base bigint not null,
  tick bigint not null,
  id bigint not null,
  replay integer,
  at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (grp, number)
);

create table leases (
  id bigint not null generated always as identity,
  token uuid not null default gen_random_uuid(),
  queue integer not null,
  holder text not null,
  expires_at timestamp with time zone not null,
  deliveries jsonb not null,
  PRIMARY KEY (id)
)
with (
  autovacuum_vacuum_cost_delay=0,
  autovacuum_vacuum_scale_factor=0,
  autovacuum_vacuum_threshold=1000
);
CREATE INDEX leases_expires ON leases USING btree (expires_at);

create table lines (
  queue integer not null,
  spot integer not null default hashtext(key),
  key text not null,
  priority smallint not null,
  "position" bigint not null,
  bytes integer not null,
  PRIMARY KEY (queue, spot, key, priority, "position")
)
with (
  autovacuum_vacuum_cost_delay=0,
  autovacuum_vacuum_scale_factor=0,
  autovacuum_vacuum_threshold=5000
);

create table outbox (
  id bigint not null default nextval('outbox_id'::regclass),
  xid xid8 not null default xid_of_publisher(),
  message_id uuid not null,
  exchange text not null,
  routing_key text not null,
  type text not null,
  version integer not null default 1,
  key text,
  priority smallint not null default 0,
  deliver_at timestamp with time zone,
  expires_at timestamp with time zone,
  correlation_id text,
  causation_id text,
  headers json,
  payload json,
  body bytea,
  content_type text,
  published_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (id)
) partition by RANGE (id);
CREATE INDEX outbox_xid ON ONLY outbox USING btree (xid, id);

create table parked (
  grp integer not null,
  key text not null,
  number bigint not null default nextval('parked_number'::regclass),
  message bigint not null,
  message_id uuid not null,
  PRIMARY KEY (grp, key, number)
);
CREATE INDEX parked_message ON parked USING btree (message);

create table parked_keys (
  grp integer not null,
  key text not null,
  lane smallint not null,
  scope text not null,
  attempts integer not null,
  history jsonb not null,
  due_at timestamp with time zone not null,
  held boolean not null default false,
  parked_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (grp, key),
  FOREIGN KEY (grp) REFERENCES stream_groups(id) ON DELETE CASCADE,
  CHECK ((scope = ANY (ARRAY['key'::text, 'message'::text, 'lane'::text])))
);
CREATE INDEX parked_keys_due ON parked_keys USING btree (grp, due_at) WHERE (NOT held);

create table partitions (
  name text not null,
  from_id bigint not null,
  to_id bigint,
  made_at timestamp with time zone not null default clock_timestamp(),
  emptied_at timestamp with time zone,
  PRIMARY KEY (name)
);

create table pauses (
  queue integer not null,
  source text not null,
  until timestamp with time zone,
  reason text,
  paused_by text,
  times integer not null default 1,
  paused_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (queue, source),
  FOREIGN KEY (queue) REFERENCES queues(id) ON DELETE CASCADE,
  CHECK ((source = ANY (ARRAY['operator'::text, 'handler'::text, 'breaker'::text])))
);

create table positions (
  reader text not null,
  number bigint not null default nextval('position_number'::regclass),
  tick bigint not null,
  id bigint not null,
  floor_id bigint not null default 0,
  system_identifier bigint,
  at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (reader, number)
);

create table queues (
  id integer not null generated always as identity,
  name text not null,
  kind text not null default 'standard'::text,
  max_attempts integer not null default 10,
  max_crashes integer not null default 3,
  retry jsonb not null default '{}'::jsonb,
  owner text,
  declared_at timestamp with time zone not null default clock_timestamp(),
  flow jsonb not null default '{}'::jsonb,
  dead_letter jsonb,
  stream jsonb,
  newer_versions text not null default 'leave'::text,
  UNIQUE (name),
  PRIMARY KEY (id),
  CHECK ((kind = ANY (ARRAY['standard'::text, 'stream'::text]))),
  CHECK ((newer_versions = ANY (ARRAY['leave'::text, 'dead-letter'::text])))
);

create table ready (
  queue integer not null,
  priority smallint not null,
  "position" bigint not null default nextval('ready_position'::regclass),
  message bigint not null,
  message_id uuid not null,
  attempts integer not null default 0,
  crashes integer not null default 0,
  history jsonb,
  PRIMARY KEY (queue, priority, "position")
)
with (
  autovacuum_analyze_scale_factor=0,
  autovacuum_analyze_threshold=50000,
  autovacuum_vacuum_cost_delay=0,
  autovacuum_vacuum_insert_scale_factor=0,
  autovacuum_vacuum_insert_threshold=50000,
  autovacuum_vacuum_scale_factor=0,
  autovacuum_vacuum_threshold=5000
);
CREATE INDEX ready_charged ON ready USING btree (queue, priority, "position") WHERE (crashes > 0);

create table replays (
  id integer not null generated always as identity,
  grp integer not null,
  tick bigint not null,
  last_id bigint not null,
  since timestamp with time zone,
  before timestamp with time zone,
  number bigint not null,
  by text,
  made_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (id),
  FOREIGN KEY (grp) REFERENCES stream_groups(id) ON DELETE CASCADE
);

create table requests (
  id uuid not null,
  requester text not null,
  until timestamp with time zone not null,
  reply json,
  replied_at timestamp with time zone,
  PRIMARY KEY (id)
);
CREATE INDEX requests_until ON requests USING btree (until);

create table scheduled (
  due_at timestamp with time zone not null,
  "position" bigint not null default nextval('ready_position'::regclass),
  queue integer not null,
  priority smallint not null,
  message bigint not null,
  message_id uuid not null,
  attempts integer not null default 0,
  crashes integer not null default 0,
  history jsonb,
  PRIMARY KEY (due_at, "position")
)
with (
  autovacuum_vacuum_cost_delay=0,
  autovacuum_vacuum_scale_factor=0,
  autovacuum_vacuum_threshold=5000
);
CREATE INDEX scheduled_message ON scheduled USING btree (message_id);

create table schedules (
  name text not null,
  cron text not null,
  time_zone text not null,
  missed text not null,
  message json not null,
  next_at timestamp with time zone not null,
  last_at timestamp with time zone,
  owner text,
  declared_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (name),
  CHECK ((missed = ANY (ARRAY['skip'::text, 'once'::text, 'all'::text])))
);
CREATE INDEX schedules_next ON schedules USING btree (next_at);

create table settings (
  one boolean not null default true,
  payload_bytes integer not null default 1048576,
  functions text,
  PRIMARY KEY (one),
  CHECK (one)
);

create table settled (
  lease bigint not null,
  "position" bigint not null,
  PRIMARY KEY (lease, "position")
)
with (
  autovacuum_vacuum_cost_delay=0,
  autovacuum_vacuum_scale_factor=0,
  autovacuum_vacuum_threshold=5000
);

create table slots (
  queue integer not null,
  key text not null,
  n integer not null,
  lease bigint not null,
  "position" bigint not null,
  PRIMARY KEY (queue, key, n)
)
with (
  autovacuum_vacuum_cost_delay=0,
  autovacuum_vacuum_scale_factor=0,
  autovacuum_vacuum_threshold=1000
);

create table spent (
  queue integer not null,
  at timestamp with time zone not null,
  n integer not null
)
with (
  autovacuum_vacuum_cost_delay=0,
  autovacuum_vacuum_scale_factor=0,
  autovacuum_vacuum_threshold=1000
);
CREATE INDEX spent_at ON spent USING btree (queue, at);

create table stream_groups (
  id integer not null generated always as identity,
  queue integer not null,
  name text not null,
  since timestamp with time zone,
  moved bigint not null default 0,
  paused_until timestamp with time zone,
  paused_by text,
  pause_reason text,
  made_at timestamp with time zone not null default clock_timestamp(),
  UNIQUE (queue, name),
  PRIMARY KEY (id),
  FOREIGN KEY (queue) REFERENCES queues(id) ON DELETE CASCADE
);

create table tally (
  xid xid8 not null default pg_current_xact_id(),
  scope text not null,
  name text not null,
  counter text not null,
  n bigint not null
);
CREATE INDEX tally_xid ON tally USING btree (xid);

create table ticks (
  number bigint not null,
  snapshot pg_snapshot not null,
  top_id bigint not null,
  at timestamp with time zone not null default clock_timestamp(),
  floor_id bigint not null default 0,
  PRIMARY KEY (number)
);

create table turns (
  name text not null,
  PRIMARY KEY (name)
);

create table inbox_d⟨day 0⟩ partition of inbox FOR VALUES FROM ('⟨day 0⟩') TO ('⟨day 1⟩');

create table inbox_d⟨day 1⟩ partition of inbox FOR VALUES FROM ('⟨day 1⟩') TO ('⟨day 2⟩');

create table inbox_d⟨day 2⟩ partition of inbox FOR VALUES FROM ('⟨day 2⟩') TO ('⟨day 3⟩');

create table inbox_head partition of inbox FOR VALUES FROM (MINVALUE) TO ('⟨day 0⟩');

create table inbox_tail partition of inbox FOR VALUES FROM ('⟨day 3⟩') TO (MAXVALUE);

create table outbox_p1 partition of outbox FOR VALUES FROM (MINVALUE) TO ('200001');

create table outbox_p200001 partition of outbox FOR VALUES FROM ('200001') TO ('400001');

create table outbox_p400001 partition of outbox FOR VALUES FROM ('400001') TO (MAXVALUE);

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON effect_attempts FOR EACH ROW EXECUTE FUNCTION keep_effect_attempts();

CREATE TRIGGER note_attempts AFTER INSERT ON scheduled FOR EACH ROW WHEN ((jsonb_array_length(new.history) > 0)) EXECUTE FUNCTION note_attempts();

CREATE TRIGGER send_onward AFTER INSERT ON dead_letters FOR EACH ROW EXECUTE FUNCTION send_dead_letter_onward();

create function add_to_fold(_counts jsonb, _since jsonb)
returns jsonb
language sql immutable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function after_routing(_queues integer[], _from bigint)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function apply_outcomes(_queue integer, _consumer text, _outcomes jsonb)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function audit()
returns TABLE(scope text, name text, routed bigint, ready bigint, scheduled bigint, leased bigint, completed bigint, retried bigint, dead bigint, expired bigint, discarded bigint, purged bigint, redriven bigint, published bigint, unmatched bigint, unrouted bigint, difference bigint)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function backlog(queue text)
returns bigint
language plpgsql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function begin_effect_call(_operation text, _token bigint, _call uuid, _worker text, _lease_ms double precision, _margin_ms double precision, _not_after timestamp with time zone)
returns text
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function begin_probe(_queue integer, _probe_ms double precision)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function between_ticks(_a pg_snapshot, _b pg_snapshot, _floor bigint, _limit integer)
returns TABLE(id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamp with time zone, headers json)
language plpgsql
  set enable_hashjoin=off
  set enable_mergejoin=off
  set enable_seqscan=off
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function between_ticks_after(_a pg_snapshot, _b pg_snapshot, _after bigint, _top bigint, _limit integer)
returns TABLE(id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamp with time zone, headers json)
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function between_ticks_below(_a pg_snapshot, _b pg_snapshot, _floor bigint, _top bigint, _limit integer)
returns TABLE(id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamp with time zone, headers json)
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function bury(_queue integer, _message bigint, _message_id uuid, _priority smallint, _attempts integer, _crashes integer, _history jsonb, _reason text)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function bury_of_group(_group integer, _message bigint, _message_id uuid, _priority smallint, _attempts integer, _history jsonb, _reason text)
returns void
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function cancel(_messages uuid[], _queue integer DEFAULT NULL::integer)
returns TABLE(message_id uuid, queue text)
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function caused_by(_id uuid, _correlation text, _span bigint, _limit integer)
returns TABLE(message_id uuid, causation_id text, searched_until timestamp with time zone)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function charge_crashes(_queue integer, _priorities smallint[], _positions bigint[], _max_crashes integer)
returns TABLE("position" bigint, message_id uuid, crashes integer, dead boolean)
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function checked(_exchange text, _routing_key text, _type text, _version integer, _key text, _priority integer, _delay_ms double precision, _deliver_at timestamp with time zone, _expires_in_ms double precision, _correlation_id text, _causation_id text, _headers json, _payload json, _body text, _content_type text, _payload_bytes integer, _exchanges text[])
returns boolean
language plpgsql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function claim(_queue integer, _consumer text, _limit integer, _floors bigint[])
returns SETOF claimed
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function claim_again(_queue integer, _consumer text, _priorities smallint[], _positions bigint[])
returns SETOF claimed
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function claim_alone(_queue integer, _consumer text)
returns SETOF claimed
language plpgsql
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function claim_alone_flowing(_queue integer, _consumer text, _flow jsonb)
returns SETOF claimed
language plpgsql
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function claim_effect(_operation text, _kind text, _provider text, _fingerprint text, _provider_key uuid, _window_ms double precision, _claim uuid, _worker text, _lease_ms double precision)
returns TABLE(verdict text, effect effects, lease_left_ms double precision, window_left_ms double precision)
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function claim_flowing(_queue integer, _consumer text, _limit integer, _floors bigint[], _alone boolean)
returns TABLE(wait_ms double precision, delivery claimed)
language plpgsql
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function close_request(_id uuid)
returns TABLE(replied boolean, reply text)
language sql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=1s
  set search_path=⟨schema⟩, pg_temp;

create function closed_by(_queue integer)
returns TABLE(source text, until timestamp with time zone, reason text)
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function closed_lanes(_group integer)
returns bigint
language sql stable
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function complete(lease_id bigint, token uuid, "position" bigint)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function completed_of(_queue integer)
returns bigint
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function contents_of(_queue integer, OUT waiting bigint, OUT leased bigint, OUT dead bigint)
returns record
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function copies_of(_id uuid)
returns uuid[]
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function count_dead_purged(_queues integer[])
returns void
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function count_queue(_queue integer, _counter text, _n bigint)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function count_stream(_queue integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _until_tick bigint, _until_id bigint, _since timestamp with time zone, _before timestamp with time zone, _consumer text, _most bigint, OUT messages bigint, OUT processed bigint, OUT whole boolean, OUT first_at timestamp with time zone)
returns record
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function counted(_n bigint, _one text, _many text)
returns text
language sql immutable;

create function counters()
returns TABLE(scope text, name text, counter text, n bigint)
language plpgsql stable
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function cut_off(_part text)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function cut_off_from(_part text)
returns TABLE(stream text, grp text, messages bigint)
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function dated(_history jsonb)
returns jsonb
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function dead_letter(lease_id bigint, token uuid, "position" bigint, reason text)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function delete_group(_group integer, _by text, OUT parked bigint)
returns bigint
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function delete_queue(_queue text, _force boolean, OUT deleted boolean, OUT purged bigint)
returns record
language plpgsql
  set jit=off
  set lock_timeout=5s
  set search_path=⟨schema⟩, pg_temp;

create function depth_of(_queue text)
returns bigint
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function discard(lease_id bigint, token uuid, "position" bigint)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function drop_overflow(_queue integer, _flow jsonb)
returns void
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function drop_shells()
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function due_keys(_group integer, _lanes bigint, _limit integer)
returns TABLE(key text)
language sql stable
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function due_schedules(_limit integer)
returns TABLE(name text, cron text, time_zone text, missed text, next_at timestamp with time zone, now timestamp with time zone, wait_ms double precision)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function effect_account(OUT started bigint, OUT succeeded bigint, OUT failed bigint, OUT unknown bigint, OUT needs_review bigint, OUT overdue bigint, OUT unrecorded bigint, OUT contradicted bigint)
returns record
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function effect_attention(OUT unknown bigint, OUT needs_review bigint, OUT overdue bigint, OUT unrecorded bigint, OUT contradicted bigint, OUT oldest_ms double precision)
returns record
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function effect_wants(_e effects)
returns text
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function effect_window_ms(_e effects)
returns double precision
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function empty_partition(_retention_ms double precision, _most_bytes double precision DEFAULT NULL::double precision)
returns text
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function end_effect_call(_operation text, _token bigint, _call uuid, _event text, _worker text, _provider_key uuid, _outcome text, _reason text, _status integer, _response text, _sealed boolean, _lease_ms double precision, _release boolean)
returns TABLE(late boolean, fresh boolean, known text, contradicted boolean)
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function end_probe(_queue integer, _passed boolean)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function ended_between(_a pg_snapshot, _b pg_snapshot)
returns xid8[]
language sql immutable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function erase(message_id uuid, by text DEFAULT NULL::text)
returns boolean
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function erase_effects(_before timestamp with time zone)
returns integer
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function erase_message(_id uuid, _by text, _note boolean, OUT was_there boolean, OUT copies uuid[], OUT xid xid8)
returns record
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function extend(lease_id bigint, token uuid, lease interval DEFAULT '00:01:00'::interval)
returns timestamp with time zone
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function extend_lease(_lease bigint, _token uuid, _lease_ms double precision)
returns SETOF timestamp with time zone
language sql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function find_message(_id uuid)
returns bigint
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function fingerprint_of(_exchange text, _routing_key text, _content text)
returns text
language sql immutable;

create function fingerprints_of(_exchange text, _routing_key text, _payload json, _body text, _content_type text, _given text[])
returns text[]
language plpgsql immutable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function fire_schedule(_name text, _expected timestamp with time zone, _next timestamp with time zone, _ticks timestamp with time zone[])
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function first_id(_day date)
returns uuid
language sql immutable;

create function firsts_by_key(_messages json, _ids uuid[], _max_bytes integer, _exchanges text[])
returns uuid[]
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function flow_channel()
returns text
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function fold_tally()
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function forget_parked(_group integer)
returns bigint
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function forget_processed(_consumer text, _ids uuid[])
returns void
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function free_key(_group integer, _key text)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function give_tokens(_queue integer, _at timestamp with time zone, _n integer)
returns void
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function group_positions(_group integer, _before bigint DEFAULT '9223372036854775807'::bigint)
returns TABLE(number bigint, lanes bigint, base bigint, tick bigint, id bigint, replay integer, at timestamp with time zone)
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function group_status(_queue integer, _group text, _most integer)
returns TABLE(stream text, name text, made_at timestamp with time zone, since timestamp with time zone, paused_until timestamp with time zone, pause_reason text, paused_by text, members integer, lag bigint, counted boolean, lag_ms double precision, parked_keys bigint, parked bigint, held_keys bigint, replaying boolean, moved_at timestamp with time zone)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function groups_read_to()
returns TABLE(tick bigint, floor_id bigint)
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function headers_match(_headers json, _match text, _arguments jsonb)
returns boolean
language sql immutable;

create function headers_problem(_headers json)
returns text
language plpgsql immutable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function history_without_words(_history jsonb)
returns jsonb
language sql immutable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function hold_lanes(_group integer, _lanes bigint, _number bigint, OUT held bigint, OUT parks boolean, OUT paused boolean)
returns record
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function hold_leased_lanes(_group integer, _lanes bigint, _number bigint, _keys text[], _lease bigint, _token uuid, OUT held bigint, OUT parked text[], OUT paused boolean)
returns record
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function hold_parked(_group integer, _keys text[])
returns text[]
language sql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function hold_places(_lease bigint, _taken ready[], _stood lines[], _places integer[], _flow jsonb)
returns void
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function id_after(_state text, _edge bigint, _a ticks, _b ticks, _chunk integer, _messages bigint, _last_id bigint)
returns bigint
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function inherit_processed(_heir text, _from text)
returns bigint
language plpgsql
  set enable_seqscan=on
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function is_past(_xid xid8)
returns boolean
language sql stable;

create function is_v7(_id uuid)
returns boolean
language sql immutable;

create function join_group(_group integer)
returns integer
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function json_depth(_text text, _limit integer)
returns integer
language plpgsql immutable strict;

create function json_problem(_name text, _text text, _max_bytes integer)
returns text
language plpgsql immutable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function keep_effect_attempts()
returns trigger
language plpgsql;

create function key_admitted(_kind text, _bound text, _pattern text, _routing_key text)
returns boolean
language sql immutable;

create function lagging_groups(_retention_ms double precision, _most_bytes double precision DEFAULT NULL::double precision)
returns TABLE(stream text, grp text, part text, messages bigint)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function lane_of(_key text, _id uuid)
returns integer
language sql stable;

create function lease_lanes(_group integer, _lanes bigint, _lease_ms double precision, _holder text, _session integer)
returns TABLE(lease bigint, token uuid, lanes bigint)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function lease_now(_queue integer, _limit integer, _lease_ms double precision, _floors bigint[], _holder text, _consumer text)
returns TABLE(lease bigint, token uuid, expires_at timestamp with time zone, delivery claimed)
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function lease_ready(_queue integer, _limit integer, _lease_ms double precision, _floors bigint[], _holder text, _consumer text)
returns TABLE(lease bigint, token uuid, expires_at timestamp with time zone, delivery claimed)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function leased_lanes(_group integer, _but bigint)
returns bigint
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function leased_slots(_queue integer, _key text)
returns SETOF integer
language sql
  set enable_hashjoin=off
  set enable_mergejoin=off
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function leave_group(_group integer)
returns boolean
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function leave_out(_consumer text, _taken ready[], _known uuid[], _brought integer)
returns SETOF claimed
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function line_up(_queue integer, _from bigint, _flow jsonb)
returns void
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function lined(_flow jsonb)
returns boolean
language sql immutable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function lock_class()
returns integer
language sql immutable;

create function lock_keys(_keys text[])
returns void
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function lock_lanes(_group integer, _lanes bigint, _patiently boolean)
returns bigint
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function lock_object(_purpose text)
returns integer
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function lock_to_lease(_queue integer, _limit integer, _floors bigint[])
returns tid[]
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function log_chunk(_state text, _a ticks, _b ticks, _after bigint, _edge bigint, _limit integer)
returns SETOF outbox
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function log_kept_from()
returns bigint
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function look_at_groups(_groups integer[])
returns TABLE(grp integer, members integer[], paused_ms double precision, closed bigint, stale bigint, due_ms double precision, newest bigint, moved bigint)
language sql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function look_at_queues(_queues integer[], _grounds bigint[])
returns TABLE(queue integer, lowest bigint[], top bigint, closed text, closed_ms double precision, reason text, half_open boolean, flow text)
language sql stable
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function look_between(_id bigint, _a ticks, _b ticks, _floor bigint, _chunk integer, OUT state text, OUT edge bigint)
returns record
language plpgsql immutable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function lowest_ready(_queue integer, _from bigint[], OUT lowest bigint[], OUT top bigint)
returns record
language plpgsql stable
  set enable_bitmapscan=off
  set enable_indexonlyscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function make_group(_queue integer, _name text, _base bigint, _tick bigint, _id bigint, _since timestamp with time zone, OUT grp integer, OUT made boolean)
returns record
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function make_inbox_part()
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function make_partitions(_retention_ms double precision)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function members_of(_group integer)
returns integer[]
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function message_problem(_exchange text, _routing_key text, _type text, _version integer, _key text, _priority integer, _delay_ms double precision, _deliver_at timestamp with time zone, _expires_in_ms double precision, _correlation_id text, _causation_id text, _headers json, _payload json, _body bytea, _content_type text, _payload_bytes integer)
returns text
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function messages_by_id(_ids bigint[])
returns SETOF outbox
language plpgsql
  set enable_seqscan=off
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function move_lanes(_group integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _replay integer)
returns bigint
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function ms_since(_at timestamp with time zone)
returns double precision
language sql;

create function must_be_settled(_settled bigint[], _position bigint)
returns void
language plpgsql;

create function name_problem(_name text, _value text, _least integer)
returns text
language sql immutable;

create function needed_ticks()
returns SETOF bigint
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function newest_tick()
returns ticks
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function next_between_ticks(_a pg_snapshot, _a_top bigint, _b pg_snapshot, _after bigint)
returns bigint
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function next_lapse(_low timestamp with time zone)
returns double precision
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function next_lines(_queue integer, _limit integer, _flow jsonb, _each boolean, OUT keys text[], OUT counts integer[], OUT blocked boolean)
returns record
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function note_act(_by text, _act text, _queue text, _facts jsonb)
returns void
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function note_attempts()
returns trigger
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function note_effect(_e effects, _event text, _worker text, _token bigint DEFAULT NULL::bigint, _call uuid DEFAULT NULL::uuid, _provider_key uuid DEFAULT NULL::uuid, _late boolean DEFAULT false, _outcome text DEFAULT NULL::text, _reason text DEFAULT NULL::text, _status integer DEFAULT NULL::integer, _response text DEFAULT NULL::text, _sealed boolean DEFAULT false)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function note_failures(_queue integer, _failed bigint)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function note_lanes(_group integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _replay integer)
returns bigint
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function note_new(_consumer text, _ids uuid[])
returns void
language plpgsql
  set jit=off
  set lock_timeout=2s
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function note_or_put_off(_consumer text, _wanted ready[], OUT taken ready[], OUT known uuid[])
returns record
language plpgsql
  set jit=off
  set lock_timeout=50ms
  set search_path=⟨schema⟩, pg_temp;

create function note_processed(_consumer text, _ids uuid[])
returns uuid[]
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function note_taken(_consumer text, INOUT taken ready[], OUT known uuid[])
returns record
language plpgsql
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function oldest_partition(_retention_ms double precision, _most_bytes double precision DEFAULT NULL::double precision)
returns partitions
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function open_request(_id uuid, _requester text, _timeout_ms double precision)
returns void
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function outlived(_ttl_ms double precision, _published_at timestamp with time zone, _deliver_at timestamp with time zone, _history jsonb)
returns boolean
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function overflow_of(_queue integer, _flow jsonb)
returns bigint
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function parked_among(_group integer, _keys text[])
returns SETOF text
language sql stable
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function parked_of(_group integer, _key text, _limit integer)
returns TABLE(key text, scope text, lane smallint, attempts integer, history jsonb, due_at timestamp with time zone, held boolean, parked_at timestamp with time zone, waiting bigint, message_id uuid, type text, payload text)
language sql stable
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function parks_keys(_stream jsonb)
returns boolean
language sql immutable;

create function pass_lanes(_group integer, _lanes bigint[], _numbers bigint[], _base bigint, _tick bigint, _id bigint, _replay integer, OUT held bigint, OUT number bigint)
returns record
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function pause(queue text, reason text DEFAULT NULL::text, duration interval DEFAULT NULL::interval)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function pause_group(_group integer, _for_ms double precision, _reason text, _by text)
returns void
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function pause_queue(_queue integer, _source text, _for_ms double precision, _reason text, _by text)
returns timestamp with time zone
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function pick_to_lease(_queue integer, _limit integer, _floors bigint[], _flow jsonb, OUT taken ready[], OUT stood lines[], OUT places integer[], OUT wait_ms double precision, OUT spent_at timestamp with time zone)
returns record
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function position_at(_at timestamp with time zone)
returns bigint
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function position_at_time(_at timestamp with time zone, OUT base bigint, OUT tick bigint, OUT id bigint)
returns record
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function position_latest(OUT base bigint, OUT tick bigint, OUT id bigint)
returns record
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function position_of(_reader text)
returns positions
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function position_of_message(_id uuid, _after boolean, OUT base bigint, OUT tick bigint, OUT id bigint)
returns record
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function prepare_to_wait()
returns boolean
language plpgsql;

create function promote_due(_limit integer, _low timestamp with time zone, OUT promoted integer, OUT queues integer[], OUT next_due_ms double precision)
returns record
language plpgsql
  set enable_seqscan=off
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function publish(exchange text, routing_key text, payload json, type text DEFAULT NULL::text, key text DEFAULT NULL::text, headers json DEFAULT NULL::json, id uuid DEFAULT NULL::uuid, version integer DEFAULT 1, priority integer DEFAULT 0, delay interval DEFAULT NULL::interval, deliver_at timestamp with time zone DEFAULT NULL::timestamp with time zone, expires_in interval DEFAULT NULL::interval, correlation_id text DEFAULT NULL::text, causation_id text DEFAULT NULL::text, lock_key boolean DEFAULT false, body bytea DEFAULT NULL::bytea, content_type text DEFAULT NULL::text, dedupe_key text DEFAULT NULL::text, dedupe_window interval DEFAULT NULL::interval)
returns uuid
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function publish_all(messages json)
returns TABLE(id text, duplicate text)
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function publish_all(messages text)
returns TABLE(id text, duplicate text)
language plpgsql
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function purge_dead_letters(_ids bigint[], _queue integer DEFAULT NULL::integer, _by text DEFAULT NULL::text)
returns TABLE(id bigint, queue text)
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function purge_queue(_queue integer, _limit integer)
returns integer
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function put_back(_taken ready[], _n integer)
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function put_flows(_flows jsonb)
returns void
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function put_schedule(_name text, _cron text, _time_zone text, _missed text, _message text, _next_at timestamp with time zone, _owner text)
returns timestamp with time zone
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function queue_channel(_queue integer)
returns text
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function queue_id(_queue text)
returns integer
language plpgsql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function queue_status(_queue text DEFAULT NULL::text)
returns TABLE(name text, kind text, depth bigint, ready bigint, scheduled bigint, leased bigint, dead bigint, oldest_ms double precision, routed bigint, completed bigint, retried bigint, died bigint, over_ms double precision)
language plpgsql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function queues_for(_exchange text, _routing_key text, _type text, _headers json)
returns SETOF integer
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function read_log(_queue integer, _lanes bigint, _a ticks, _b ticks, _id bigint, _until_tick bigint, _until_id bigint, _limit integer, _since timestamp with time zone, _before timestamp with time zone)
returns SETOF stream_row
language plpgsql
  set enable_nestloop=off
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function read_on(_queue integer, _a text, _b text, _id bigint, _kept_from bigint, _since timestamp with time zone, _limit integer, _bytes bigint)
returns TABLE(id bigint, lane integer, message_id uuid, priority smallint, exchange text, routing_key text, type text, version integer, key text, correlation_id text, causation_id text, headers text, payload text, body bytea, content_type text, published_ms double precision, expired boolean, a text, b text, kept_from bigint)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function read_stream(_queue integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _until_tick bigint, _until_id bigint, _limit integer, _since timestamp with time zone, _before timestamp with time zone)
returns SETOF stream_row
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function reader_at(_base bigint, _tick bigint, _id bigint, OUT a text, OUT b text, OUT kept_from bigint)
returns record
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function receive(queue text, max integer DEFAULT 1, lease interval DEFAULT '00:01:00'::interval)
returns TABLE(lease_id bigint, token uuid, "position" bigint, message_id uuid, type text, version integer, exchange text, routing_key text, key text, headers json, payload json, body bytea, content_type text, attempt integer, published_at timestamp with time zone, expires_at timestamp with time zone)
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function record_effect(_operation text, _token bigint, _worker text)
returns text
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function record_effect_from_elsewhere(_operation text, _as text, _response text, _sealed boolean, _by text, _reason text)
returns text
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function recover_leases(_limit integer, OUT returned integer, OUT dead integer)
returns record
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function redrive(_ids bigint[], _by text DEFAULT NULL::text, _queue integer DEFAULT NULL::integer, _to integer DEFAULT NULL::integer, _payload text DEFAULT NULL::text, _dry boolean DEFAULT false)
returns TABLE(id bigint, queue text, redriven boolean)
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function refold_tally()
returns void
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function refuse_keyless(_exchange text, _routing_key text, _type text, _headers json)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function refuse_message(_type text, _reason text, _code text DEFAULT 'PH001'::text)
returns boolean
language plpgsql;

create function refuse_unreadable(_text text)
returns void
language plpgsql;

create function refusing_queues()
returns TABLE(name text, is_full text, bindings json)
language sql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function relay_channel()
returns text
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function relay_cycle(_chunk integer, _sweep boolean, _back_ms double precision DEFAULT 60000, _lapses boolean DEFAULT true, OUT turn boolean, OUT messages integer, OUT deliveries integer, OUT promoted integer, OUT more boolean, OUT queues integer[], OUT next_due_ms double precision, OUT next_lease_ms double precision, OUT rebased boolean, OUT promotion_ms double precision, OUT lapses_ms double precision)
returns record
language plpgsql
  set jit=off
  set lock_timeout=5s
  set search_path=⟨schema⟩, pg_temp;

create function relay_status(_limit integer, OUT tick bigint, OUT at timestamp with time zone, OUT unrouted integer, OUT oldest_ms double precision, OUT duty_pid integer, OUT duty_name text, OUT standing_by integer)
returns record
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function release_keys(_group integer)
returns integer
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function release_lanes(_lease bigint, _token uuid)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function release_leased(_lease bigint, _token uuid, _positions bigint[], _delay_ms double precision DEFAULT 0)
returns SETOF bigint
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function remember_ids(_ids uuid[])
returns uuid[]
language plpgsql
  set jit=off
  set lock_timeout=5s
  set search_path=⟨schema⟩, pg_temp;

create function remember_keys(_wanted dedupe[], OUT standing dedupe[], OUT mine dedupe[])
returns record
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=5s
  set search_path=⟨schema⟩, pg_temp;

create function renew_effect(_operation text, _token bigint, _lease_ms double precision)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function renew_effect_key(_operation text, _token bigint, _worker text, _key_number smallint, _provider_key uuid)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function renew_lanes(_lease bigint, _token uuid, _lease_ms double precision)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function replay_group(_group integer, _base bigint, _tick bigint, _id bigint, _last_tick bigint, _last_id bigint, _since timestamp with time zone, _before timestamp with time zone, _by text, _facts jsonb)
returns integer
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function replies_channel(_requester text)
returns text
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function reply(request uuid, queue text, payload json)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function resolve_effect(_operation text, _as text, _response text, _sealed boolean, _by text, _reason text, _key_number smallint, _provider_key uuid)
returns text
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function restore_ready(_queue integer, _priorities smallint[], _positions bigint[])
returns TABLE("position" bigint, restored boolean)
language sql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function resume(queue text)
returns boolean
language sql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function resume_group(_group integer)
returns boolean
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function resume_queue(_queue integer)
returns boolean
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function retry(lease_id bigint, token uuid, "position" bigint, delay interval DEFAULT NULL::interval, error text DEFAULT NULL::text)
returns void
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function retry_delay_ms(_policy jsonb, _attempt integer, _random double precision DEFAULT random())
returns double precision
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function retry_key(_group integer, _key text)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function review_effect(_operation text, _token bigint, _worker text, _reason text)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=2s
  set search_path=⟨schema⟩, pg_temp;

create function route_chunk(_state text, _a pg_snapshot, _b pg_snapshot, _after bigint, _top bigint, _floor bigint, _limit integer, OUT messages integer, OUT deliveries integer, OUT last_id bigint, OUT queues integer[])
returns record
language plpgsql
  set enable_mergejoin=off
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function route_few(_a pg_snapshot, _b pg_snapshot, _floor bigint, _limit integer, OUT messages integer, OUT deliveries integer, OUT last_id bigint, OUT queues integer[], OUT ruled boolean)
returns record
language plpgsql
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function rows_between_ticks(_a pg_snapshot, _b pg_snapshot, _floor bigint, _limit integer)
returns SETOF outbox
language plpgsql
  set enable_hashjoin=off
  set enable_mergejoin=off
  set enable_seqscan=off
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function rows_between_ticks_after(_a pg_snapshot, _b pg_snapshot, _after bigint, _top bigint, _limit integer)
returns SETOF outbox
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function rows_between_ticks_below(_a pg_snapshot, _b pg_snapshot, _floor bigint, _top bigint, _limit integer)
returns SETOF outbox
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function schedules_channel()
returns text
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function seek_group(_group integer, _base bigint, _tick bigint, _id bigint, _since timestamp with time zone, _by text, _facts jsonb)
returns void
language plpgsql
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function send_dead_letter_onward()
returns trigger
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function settle(_queue integer, _consumer text, _completed integer, _outcomes jsonb DEFAULT NULL::jsonb)
returns void
language plpgsql
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function settle_lanes(_group integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _replay integer, _parking text)
returns bigint
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function settle_leased(_lease bigint, _token uuid, _consumer text, _outcomes jsonb, _inbox boolean)
returns SETOF bigint
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function settle_parked(_group integer, _key text, _due_at text, _done bigint[], _attempts integer, _history jsonb, _delay_ms double precision, _held boolean, _dead text)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function skip_head(_group integer, _key text, _by text)
returns integer
language plpgsql
  set enable_seqscan=off
  set jit=off
  set lock_timeout=10s
  set search_path=⟨schema⟩, pg_temp;

create function slot_lock(_queue integer, _key text, _n integer)
returns bigint
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function stand_again(_stood lines[])
returns void
language sql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function stream_admits(_queue integer, _exchange text, _routing_key text, _type text, _headers json)
returns boolean
language sql stable
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function suspects(_queue integer, _limit integer, _from bigint[], _below bigint[])
returns TABLE(priority smallint, "position" bigint, message_id uuid, crashes integer)
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function suspects_in_lines(_queue integer, _limit integer)
returns TABLE(priority smallint, "position" bigint, message_id uuid, crashes integer)
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function take(_consumer text, _taken ready[])
returns SETOF claimed
language plpgsql
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function take_from_lines(_queue integer, _keys text[], _counts integer[], _sound boolean, OUT taken ready[], OUT stood lines[])
returns record
language plpgsql
  set enable_bitmapscan=off
  set enable_hashjoin=off
  set enable_mergejoin=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function take_parked(_group integer, _key text, _limit integer, _lease_ms double precision)
returns TABLE(number bigint, message bigint, message_id uuid, attempts integer, history jsonb, due_at text, missing boolean, m outbox)
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function take_replies(_ids uuid[])
returns TABLE(id uuid, reply text)
language sql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function take_slots(_queue integer, _key text, _most integer, _wanted integer)
returns integer[]
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function take_tokens(_queue integer, _wanted integer, OUT granted integer, OUT at timestamp with time zone, OUT wait_ms double precision)
returns record
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function tick_of(_number bigint)
returns ticks
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function tick_within(_a ticks, _b ticks)
returns ticks
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function ticks_for(_base bigint, _tick bigint, _id bigint, _until_tick bigint, OUT a ticks, OUT b ticks)
returns record
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function ticks_stay(_group integer, _lanes bigint, _base bigint, _tick bigint)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function top_id()
returns bigint
language plpgsql
  set enable_bitmapscan=off
  set enable_seqscan=off
  set enable_sort=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trace(message_id uuid)
returns jsonb
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trim_attempts(_retention_ms double precision)
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trim_dead_letters(_retention_ms double precision)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trim_dedupe()
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trim_held()
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trim_inbox(_retention_ms double precision)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trim_lane_positions()
returns void
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trim_logs()
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function trim_requests()
returns boolean
language plpgsql
  set enable_seqscan=off
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function unread_by_groups(_part text, _policy text)
returns SETOF integer
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function unread_in(_group integer, _part text)
returns bigint
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function unrouted(_state text, _a pg_snapshot, _b pg_snapshot, _after bigint, _top bigint, _floor bigint, _limit integer)
returns TABLE(id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamp with time zone, headers json)
language plpgsql
  set jit=off
  set plan_cache_mode=auto
  set search_path=⟨schema⟩, pg_temp;

create function upkeep_turn()
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function uuid_v7()
returns uuid
language sql;

create function wait_for_duty(_patience_ms integer)
returns boolean
language plpgsql
  set jit=off
  set search_path=⟨schema⟩, pg_temp;

create function with_messages(_taken ready[], _known uuid[])
returns SETOF claimed
language plpgsql
  set jit=off
  set plan_cache_mode=force_generic_plan
  set search_path=⟨schema⟩, pg_temp;

create function without_words(_fact jsonb)
returns jsonb
language sql immutable;

create function xid_of_publisher()
returns xid8
language sql;
