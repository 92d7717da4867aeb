-- Notes what the history of a delivery says that is put back: the last attempt, and what was done to it by hand. It is noted once,
-- however often the delivery is put aside and comes again.
create or replace function note_attempts() returns trigger
language plpgsql set search_path from current
as $$
declare
  length integer := jsonb_array_length(new.history);
begin
  insert into attempts (message_id, queue, n, fact)
  select new.message_id, new.queue, e.n, e.fact
  from jsonb_array_elements(new.history) with ordinality e (fact, n)
  where e.n >= length - 1
  on conflict do nothing;
  return null;
end $$;

create or replace trigger note_attempts after insert on scheduled for each row when (jsonb_array_length(new.history) > 0)
execute function note_attempts();

-- Forgets attempts past retention.
create or replace function trim_attempts(_retention_ms double precision) returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  border timestamptz := clock_timestamp() - _retention_ms * interval '1 ms';
begin
  if not exists (select from attempts where at < border) and not exists (select from effect_causes where at < border) or not upkeep_turn() then
    return false;
  end if;
  delete from effect_causes where ctid = any (array(select ctid from effect_causes where at < border order by at limit 10000));
  delete from attempts where ctid = any (array(select ctid from attempts where at < border order by at limit 10000));
  return true;
end $$;

-- The first position that was published at a time or later, as nearly as positions follow time: by halves, through the primary key.
create or replace function position_at(_at timestamptz) returns bigint
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
declare
  low bigint := coalesce((select id from outbox order by id limit 1), 0);
  high bigint := (select last_value + 1 from outbox_id);
  middle bigint;
  probe record;
begin
  while low < high loop
    middle := low + (high - low) / 2;
    select id, published_at into probe from outbox where id >= middle order by id limit 1;
    if found and probe.published_at < _at then
      low := probe.id + 1;
    else
      high := middle;
    end if;
  end loop;
  return low;
end $$;

-- The position of a message in the log, or null. Its id says when it was made, and it is most often published soon after: looked
-- for there first, then farther off, then everywhere. Of several with one id, the first.
create or replace function find_message(_id uuid) returns bigint
language plpgsql set search_path from current
as $$
declare
  made_at timestamptz := case when is_v7(_id) then to_timestamp(('x' || translate(left(_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0) end;
  span interval;
  low bigint;
  high bigint;
  place bigint;
begin
  if made_at between clock_timestamp() - interval '1 year' and clock_timestamp() + interval '1 day' then
    low := position_at(made_at - interval '5 seconds');
    foreach span in array array[interval '5 seconds', interval '10 minutes', interval '1 day'] loop
      high := position_at(made_at + span);
      select min(id) into place from outbox where id >= low and id < high and message_id = _id;
      if place is not null then
        return place;
      end if;
      low := high;
    end loop;
  end if;
  return coalesce((select min(id) from held where message_id = _id), (select min(id) from outbox where message_id = _id));
end $$;

-- The standard queues that a message would be routed to by the bindings there are now.
create or replace function queues_for(_exchange text, _routing_key text, _type text, _headers json) returns setof integer
language sql stable set search_path from current
as $$
  select b.queue
  from bindings b
  join exchanges e on e.name = b.exchange
  join queues q on q.id = b.queue
  where b.exchange = _exchange and q.kind = 'standard'
    and (b.type is null or b.type = _type)
    and case e.kind
          when 'headers' then headers_match(_headers, b.match, b.arguments)
          else key_admitted(e.kind, b.routing_key, b.pattern, _routing_key)
        end
  union
  select q.id from queues q where _exchange = '' and q.name = _routing_key and q.kind = 'standard'
$$;

-- What became of a message: what was published, whether it is routed, its delivery to each queue with every attempt that is
-- known, and who processed it and when.
create or replace function trace(message_id uuid) returns jsonb
language plpgsql set search_path from current
as $$
declare
  _id uuid := trace.message_id;
  place bigint := find_message(_id);
  m outbox;
  here positions := position_of('router');
  b ticks := tick_of(here.tick);
  a ticks := tick_of(here.tick - 1);
  routed boolean;
  letter dead_letters;
  answer jsonb;
begin
  select * into m from messages_by_id(array[place]) where place is not null;
  select * into letter from dead_letters d where d.message_id = _id order by d.id desc limit 1;
  if m.id is null and letter.type is not null then
    m := row(letter.message, '0', _id, letter.exchange, letter.routing_key, letter.type, letter.version, letter.key, 9 - letter.priority, null, null,
             letter.correlation_id, letter.causation_id, letter.headers, letter.payload, letter.body, letter.content_type, letter.published_at)::outbox;
  end if;
  routed := m.id is null or m.xid = '0' or m.id <= here.floor_id
    or pg_visible_in_snapshot(m.xid, b.snapshot) and (here.id >= m.id or a.number is not null and pg_visible_in_snapshot(m.xid, a.snapshot));

  with found as (
    select r.queue, 'ready' as state, r.attempts, r.crashes, null::timestamptz as at, null as reason, r.history
    from ready r where r.message_id = _id
    union all
    select s.queue, 'scheduled', s.attempts, s.crashes, s.due_at, null, s.history from scheduled s where s.message_id = _id
    union all
    select l.queue, 'leased', (d ->> 'attempts')::integer, (d ->> 'crashes')::integer, l.expires_at, null, nullif(d -> 'history', 'null')
    from leases l
    cross join jsonb_array_elements(l.deliveries) d
    where d ->> 'message_id' = _id::text
      and not exists (select from settled s where s.lease = l.id and s.position = (d ->> 'position')::bigint)
    union all
    select d.queue, 'dead', d.attempts, d.crashes, d.dead_at, d.reason, d.history from dead_letters d where d.message_id = _id
    union all
    select q.id, 'processed', null, null, i.processed_at, null, null
    from inbox i
    join queues q on q.name = i.consumer
    where i.message_id = _id
    union all
    select q.id, 'processed', null, null, i.processed_at, null, null
    from inbox_other i
    join queues q on q.name = i.consumer
    where i.message_id = _id
  ),
  told as (
    select * from found
    union all
    -- what ends without a trace of its own: completed under a lease or at most once, discarded, expired, purged; or held in an
    -- open transaction of a consumer
    select q, case when routed then 'ended' else 'unrouted' end, null, null, null, null, null
    from queues_for(m.exchange, m.routing_key, m.type, m.headers) q
    where m.id is not null and q not in (select f.queue from found f)
    union all
    select distinct p.queue, 'ended', null::integer, null::integer, null::timestamptz, null, null::jsonb
    from attempts p
    where p.message_id = _id and p.queue not in (select f.queue from found f)
      and (m.id is null or p.queue not in (select q from queues_for(m.exchange, m.routing_key, m.type, m.headers) q))
  )
  select jsonb_build_object(
    'id', _id,
    'message', case when m.id is not null then jsonb_build_object(
      'exchange', m.exchange, 'routingKey', m.routing_key, 'type', m.type, 'version', m.version, 'key', m.key, 'priority', m.priority,
      'correlationId', m.correlation_id, 'causationId', m.causation_id, 'publishedAt', m.published_at, 'deliverAt', m.deliver_at,
      'expiresAt', m.expires_at, 'erased', m.payload is null and m.body is null) end,
    'routed', routed,
    'deliveries', coalesce((
      select jsonb_agg(jsonb_build_object(
        'queue', q.name, 'state', t.state, 'attempts', t.attempts, 'crashes', t.crashes, 'at', t.at, 'reason', t.reason,
        'history', (
          select coalesce(jsonb_agg(h.fact order by h.n), '[]')
          from (
            select e.n, e.fact from jsonb_array_elements(coalesce(t.history, '[]')) with ordinality e (fact, n)
            union all
            select p.n, p.fact from attempts p
            where p.message_id = _id and p.queue = t.queue and p.n > jsonb_array_length(coalesce(t.history, '[]'))
          ) h)) order by q.name, t.at)
      from told t
      join queues q on q.id = t.queue), '[]'),
    'effects', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'operation', e.operation, 'state', e.state, 'provider', e.provider, 'calls', e.calls, 'reason', e.reason,
        'startedAt', e.started_at, 'endedAt', e.ended_at) order by e.started_at, e.operation), '[]')
      from effect_causes c
      join effects e on e.operation = c.operation
      where c.message_id = _id),
    'processed', (
      select coalesce(jsonb_agg(jsonb_build_object('consumer', i.consumer, 'at', i.processed_at) order by i.processed_at), '[]')
      from (select consumer, processed_at from inbox where inbox.message_id = _id
            union all select consumer, processed_at from inbox_other where inbox_other.message_id = _id) i))
  into answer;
  return answer;
end $$;

-- What was published because of a message: what names it as its cause, and what belongs to its conversation. The log has no index
-- for that, which every publisher would pay for: it is read from the message on, so many positions at most. `searched_until` is the
-- time up to which it was read; null: to its end.
create or replace function caused_by(_id uuid, _correlation text, _span bigint, _limit integer)
returns table (message_id uuid, causation_id text, searched_until timestamptz)
language plpgsql set search_path from current
as $$
#variable_conflict use_column
declare
  place bigint := find_message(_id);
  edge bigint := place + _span;
  until timestamptz := (select published_at from outbox where id > edge order by id limit 1);
begin
  return query
  select o.message_id, o.causation_id, until
  from outbox o
  where o.id > place and o.id <= edge and o.causation_id is not null and (o.causation_id = _id::text or o.correlation_id = _correlation)
  order by o.id
  limit _limit;
  return query select null::uuid, null::text, until;
end $$;
