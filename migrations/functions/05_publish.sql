-- Takes the keys' advisory locks, ascending, each one of 1,024, so that messages of a key follow commit order.
create or replace function lock_keys(_keys text[]) returns void
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
begin
  perform pg_advisory_xact_lock(lock_object('keys'), bucket)
  from (select distinct hashtext(k) & 1023 as bucket from unnest(_keys) k order by bucket) b;
end $$;

-- Remembers ids that their publishers chose. Returns those that are new; a concurrent publisher of the same id is waited
-- for, at most five seconds.
create or replace function remember_ids(_ids uuid[]) returns uuid[]
language plpgsql set search_path from current set lock_timeout = '5s'
as $$
declare
  fresh uuid[];
begin
  with noted as (
    insert into dedupe (scope, key, message_id, until)
    select 'id', id::text, id, clock_timestamp() + interval '7 days'
    from (select distinct id from unnest(_ids) id order by id) ids
    on conflict (scope, key) do nothing
    returning message_id
  )
  select coalesce(array_agg(message_id), '{}') into fresh from noted;
  return fresh;
end $$;

-- Publishes messages in the caller's transaction: they leave if it commits, and never existed if it rolls back.
-- One statement for one message or a thousand: a JSON array of objects with the keys
--   id, exchange, routing_key, type, version, key, priority, delay_ms | deliver_at, expires_in_ms, correlation_id,
--   causation_id, headers, payload | body (base64) and content_type, own_id, lock_key, dedupe_key, dedupe_window_ms.
-- Text in, text out: the one shape that every driver binds alike. Rows come back in the order of the array;
-- `duplicate` is true for an id its publisher chose (own_id) or a dedupe key that is known already, and then nothing was added:
-- the id is that of the message that came first. Of messages of one call with the same key, or the same id, the first counts; keys are
-- looked at before ids.
create or replace function publish_all(messages text) returns table (id text, duplicate text)
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  given json := messages::json;
  max_bytes integer;
  known text[];
  orders boolean;
  ids uuid[];
  firsts uuid[] := '{}';
  fresh uuid[];
begin
  select payload_bytes, array(select name from exchanges), exists (select from queues where parks_keys(stream))
  into max_bytes, known, orders
  from settings;
  if strpos(messages, e'\\u') > 0 and messages ~* e'\\\\u(0000|d[89a-f])' then
    perform refuse_unreadable(messages);
  end if;
  if strpos(messages, '"lock_key"') > 0 then
    perform refuse_message(x.type, 'lock_key is set, and there is no key to lock')
    from json_to_recordset(given) x (type text, key text, lock_key boolean) where x.lock_key and x.key is null;
    perform lock_keys(array_agg(x.key)) from json_to_recordset(given) x (key text, lock_key boolean) where x.lock_key and x.key is not null;
  end if;
  if strpos(messages, '"own_id"') = 0 and strpos(messages, '"dedupe_') = 0 then
    return query
    insert into outbox (message_id, exchange, routing_key, type, version, key, priority, deliver_at, expires_at,
                        correlation_id, causation_id, headers, payload, body, content_type)
    select coalesce(m.id, uuid_v7()), coalesce(m.exchange, ''), coalesce(m.routing_key, ''), m.type, coalesce(m.version, 1), m.key,
           coalesce(m.priority, 0),
           coalesce(m.deliver_at, clock_timestamp() + m.delay_ms * interval '1 ms'),
           clock_timestamp() + m.expires_in_ms * interval '1 ms',
           m.correlation_id, m.causation_id, m.headers, m.payload, decode(m.body, 'base64'), m.content_type
    from json_to_recordset(given) as m (
      id uuid, exchange text, routing_key text, type text, version integer, key text, priority integer, delay_ms double precision,
      deliver_at timestamptz, expires_in_ms double precision, correlation_id text, causation_id text, headers json, payload json,
      body text, content_type text)
    where checked(m.exchange, m.routing_key, m.type, m.version, m.key, m.priority, m.delay_ms, m.deliver_at, m.expires_in_ms,
                  m.correlation_id, m.causation_id, m.headers, m.payload, m.body, m.content_type, max_bytes, known)
      and (m.key is not null or not orders or refuse_keyless(m.exchange, m.routing_key, m.type, m.headers))
    returning message_id::text, 'false';
    return;
  end if;

  select array_agg(coalesce(x.id, uuid_v7()) order by x.n) into ids
  from rows from (json_to_recordset(given) as (id uuid)) with ordinality x (id, n);
  if strpos(messages, '"dedupe_') > 0 then
    firsts := firsts_by_key(given, ids, max_bytes, known);
  end if;
  fresh := remember_ids(array(
    select x.id
    from rows from (json_to_recordset(given) as (id uuid, own_id boolean)) with ordinality x (id, own_id, n)
    where x.own_id and x.id is not null and firsts[x.n] is null));

  return query
  with m as materialized (
    select x.*, firsts[x.n] is not null
             or x.own_id is true and x.id is not null
               and (x.id <> all (fresh) or row_number() over (partition by x.id, x.own_id, firsts[x.n] is null order by x.n) > 1) as repeated
    from rows from (json_to_recordset(given) as (
      id uuid, exchange text, routing_key text, type text, version integer, key text, priority integer, delay_ms double precision,
      deliver_at timestamptz, expires_in_ms double precision, correlation_id text, causation_id text, headers json, payload json,
      body text, content_type text, own_id boolean)) with ordinality
      as x (id, exchange, routing_key, type, version, key, priority, delay_ms, deliver_at, expires_in_ms, correlation_id, causation_id,
            headers, payload, body, content_type, own_id, n)
  ),
  added as (
    insert into outbox (message_id, exchange, routing_key, type, version, key, priority, deliver_at, expires_at,
                        correlation_id, causation_id, headers, payload, body, content_type)
    select ids[m.n], coalesce(m.exchange, ''), coalesce(m.routing_key, ''), m.type, coalesce(m.version, 1), m.key,
           coalesce(m.priority, 0),
           coalesce(m.deliver_at, clock_timestamp() + m.delay_ms * interval '1 ms'),
           clock_timestamp() + m.expires_in_ms * interval '1 ms',
           m.correlation_id, m.causation_id, m.headers, m.payload, decode(m.body, 'base64'), m.content_type
    from m
    where not m.repeated
      and checked(m.exchange, m.routing_key, m.type, m.version, m.key, m.priority, m.delay_ms, m.deliver_at, m.expires_in_ms,
                  m.correlation_id, m.causation_id, m.headers, m.payload, m.body, m.content_type, max_bytes, known)
      and (m.key is not null or not orders or refuse_keyless(m.exchange, m.routing_key, m.type, m.headers))
    order by m.n
    returning 1
  )
  select coalesce(firsts[m.n], ids[m.n])::text, m.repeated::text from m order by m.n;
end $$;

create or replace function publish_all(messages json) returns table (id text, duplicate text)
language sql set search_path from current
as $$ select * from publish_all(messages::text) $$;

-- Publishes one message from SQL, in any language, in a trigger or in a DO block. Returns its id, or that of the message that
-- came first under its dedupe key.
create or replace function publish(
  exchange text, routing_key text, payload json,
  type text default null, key text default null, headers json default null, id uuid default null, version integer default 1,
  priority integer default 0, delay interval default null, deliver_at timestamptz default null, expires_in interval default null,
  correlation_id text default null, causation_id text default null, lock_key boolean default false,
  body bytea default null, content_type text default null,
  dedupe_key text default null, dedupe_window interval default null
) returns uuid
language plpgsql set search_path from current
as $$
declare
  facts text := json_strip_nulls(json_build_object(
    'id', id, 'own_id', case when id is not null then true end, 'exchange', exchange, 'routing_key', routing_key,
    'type', coalesce(type, nullif(routing_key, '')), 'version', version, 'key', key, 'priority', priority,
    'delay_ms', extract(epoch from delay) * 1000, 'deliver_at', deliver_at, 'expires_in_ms', extract(epoch from expires_in) * 1000,
    'correlation_id', correlation_id, 'causation_id', causation_id, 'lock_key', case when lock_key then true end,
    'body', translate(encode(body, 'base64'), e'\n', ''), 'content_type', content_type,
    'dedupe_key', dedupe_key, 'dedupe_window_ms', extract(epoch from dedupe_window) * 1000));
begin
  return (
    select p.id::uuid
    from publish_all('[' || rtrim(facts, '}')
      || coalesce(', "headers": ' || headers::text, '')
      || coalesce(', "payload": ' || payload::text, '') || '}]') p);
end $$;
