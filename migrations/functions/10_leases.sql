-- Leases up to `_limit` deliveries to a holder, for a time by the database's clock. The attempt is counted here, by the
-- transaction that grants it, so a process that dies has used it up.
create or replace function lease_now(_queue integer, _limit integer, _lease_ms double precision, _floors bigint[], _holder text, _consumer text)
returns table (lease bigint, token uuid, expires_at timestamptz, delivery claimed)
language plpgsql set search_path from current set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  rows tid[];
  taken ready[];
  delivered claimed[];
  granted leases;
  flow jsonb := (select q.flow from queues q where q.id = _queue);
  limited boolean := flow ?| '{maxConcurrency,maxConcurrencyPerKey,rateLimit,fair}';
  picked record;
begin
  if limited then
    picked := pick_to_lease(_queue, _limit, _floors, flow);
    if picked.wait_ms is not null then
      return query select null::bigint, null::uuid, clock_timestamp() + picked.wait_ms * interval '1 ms', null::claimed;
    end if;
    taken := array(
      select row(t.queue, t.priority, t.position, t.message, t.message_id, t.attempts + 1, t.crashes, t.history)::ready
      from unnest(picked.taken) t order by t.priority, t.position);
  else
    rows := lock_to_lease(_queue, _limit, _floors);
    with gone as (
      delete from ready where ctid = any (rows)
      returning row(queue, priority, position, message, message_id, attempts + 1, crashes, history)::ready as row
    )
    select array_agg(gone.row order by (gone.row).priority, (gone.row).position) into taken from gone;
  end if;
  if coalesce(cardinality(taken), 0) = 0 then
    return;
  end if;

  delivered := array(
    select d
    from with_messages(taken, array(
      select i.message_id from inbox i where i.consumer = _consumer and i.message_id = any (array(select t.message_id from unnest(taken) t))
      union all
      select i.message_id from inbox_other i where i.consumer = _consumer and i.message_id = any (array(select t.message_id from unnest(taken) t))
    )) d);
  if cardinality(delivered) < cardinality(taken) then
    perform put_back(
      array(select row(t.queue, t.priority, t.position, t.message, t.message_id, t.attempts - 1, t.crashes, t.history)::ready from unnest(taken) t),
      cardinality(taken) - cardinality(delivered));
    if limited then
      perform give_tokens(_queue, picked.spent_at, cardinality(taken) - cardinality(delivered));
      perform stand_again(picked.stood);
    end if;
    taken := taken[1:cardinality(delivered)];
  end if;

  insert into leases (queue, holder, expires_at, deliveries)
  values (_queue, _holder, clock_timestamp() + _lease_ms * interval '1 ms', (select jsonb_agg(to_jsonb(t)) from unnest(taken) t))
  returning * into granted;
  if limited then
    perform hold_places(granted.id, taken, picked.stood, picked.places, flow);
  end if;
  return query select granted.id, granted.token, granted.expires_at, d::claimed from unnest(delivered) d;
end $$;

-- The same of a queue that is open. Of one whose breaker is half-open one delivery is leased, for a try.
create or replace function lease_ready(_queue integer, _limit integer, _lease_ms double precision, _floors bigint[], _holder text, _consumer text)
returns table (lease bigint, token uuid, expires_at timestamptz, delivery claimed)
language plpgsql set search_path from current
as $$
begin
  if exists (select from closed_by(_queue)) then
    return;
  end if;
  if not exists (select from pauses where queue = _queue and source = 'breaker') then
    return query select * from lease_now(_queue, _limit, _lease_ms, _floors, _holder, _consumer);
  elsif begin_probe(_queue, _lease_ms) then
    return query select * from lease_now(_queue, 1, _lease_ms, _floors, _holder, _consumer);
    if not found then
      perform end_probe(_queue, null);
    end if;
  end if;
end $$;

-- Settles deliveries of a lease that is still held: the token is right and the time has not come. Returns the positions
-- settled by this call; a lapsed or foreign lease settles nothing. Holding the lease FOR KEY SHARE keeps recovery away
-- until the caller's transaction ends, and lets renewal and the batch's other handlers pass.
create or replace function settle_leased(_lease bigint, _token uuid, _consumer text, _outcomes jsonb, _inbox boolean) returns setof bigint
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  held_lease leases;
  mine bigint[];
  facts jsonb;
begin
  select * into held_lease from leases
  where id = _lease and token = _token and expires_at > clock_timestamp()
  for key share;
  if not found then
    return;
  end if;

  with added as (
    insert into settled (lease, position)
    select _lease, x.position
    from jsonb_to_recordset(_outcomes) x ("position" bigint)
    where x.position in (select (d ->> 'position')::bigint from jsonb_array_elements(held_lease.deliveries) d)
    order by x.position
    on conflict do nothing
    returning position
  )
  select coalesce(array_agg(position), '{}') into mine from added;

  -- what was granted is what counts: the caller says how it ended, not what it was
  select coalesce(jsonb_agg(d || o order by (d ->> 'position')::bigint), '[]') into facts
  from jsonb_array_elements(held_lease.deliveries) d
  join (
    select distinct on ((g ->> 'position')::bigint) g as given from jsonb_array_elements(_outcomes) with ordinality o (g, n)
    order by (g ->> 'position')::bigint, n
  ) first on (given ->> 'position')::bigint = (d ->> 'position')::bigint
  cross join lateral (
    select jsonb_strip_nulls(jsonb_build_object('kind', given -> 'kind', 'reason', given -> 'reason', 'delay_ms', given -> 'delay_ms',
                                               'history', given -> 'history',
                                               'failed', given -> 'failed')) as o
  ) keep
  where (d ->> 'position')::bigint = any (mine);

  if _inbox then
    perform note_processed(_consumer, array(select (f ->> 'message_id')::uuid from jsonb_array_elements(facts) f where f ->> 'kind' = 'completed'));
  end if;
  perform apply_outcomes(held_lease.queue, _consumer, facts);

  if (select count(*) from settled where lease = _lease) >= jsonb_array_length(held_lease.deliveries) then
    delete from settled where lease = _lease;
    delete from leases where id = _lease;
  end if;
  return query select unnest(mine);
end $$;

-- Gives deliveries of a lease back unattempted: the attempt it counted is taken off again.
create or replace function release_leased(_lease bigint, _token uuid, _positions bigint[], _delay_ms double precision default 0) returns setof bigint
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  held_lease leases;
  mine bigint[];
begin
  select * into held_lease from leases where id = _lease and token = _token and expires_at > clock_timestamp() for key share;
  if not found then
    return;
  end if;
  with added as (
    insert into settled (lease, position)
    select _lease, (d ->> 'position')::bigint
    from jsonb_array_elements(held_lease.deliveries) d
    where (d ->> 'position')::bigint = any (_positions)
    on conflict do nothing
    returning position
  )
  select coalesce(array_agg(position), '{}') into mine from added;

  insert into scheduled (due_at, queue, priority, message, message_id, attempts, crashes, history)
  select clock_timestamp() + _delay_ms * interval '1 ms', d.queue, d.priority, d.message, d.message_id, d.attempts - 1, d.crashes, d.history
  from jsonb_populate_recordset(null::ready, held_lease.deliveries) d
  where d.position = any (mine);

  if (select count(*) from settled where lease = _lease) >= jsonb_array_length(held_lease.deliveries) then
    delete from settled where lease = _lease;
    delete from leases where id = _lease;
  end if;
  return query select unnest(mine);
end $$;

-- Renews a lease that is still held. No row: it is lost.
create or replace function extend_lease(_lease bigint, _token uuid, _lease_ms double precision) returns setof timestamptz
language sql set search_path from current set enable_seqscan = off
as $$
  update leases
  set expires_at = clock_timestamp() + _lease_ms * interval '1 ms'
  where id = _lease and token = _token and expires_at > clock_timestamp()
  returning expires_at
$$;

-- Takes back what lapsed leases left unsettled. The attempt was counted when it was granted: the last one is a dead letter.
create or replace function recover_leases(_limit integer, out returned integer, out dead integer)
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  l leases;
  facts jsonb;
begin
  returned := 0; dead := 0;
  for l in
    select * from leases where expires_at <= clock_timestamp() order by expires_at limit _limit for update skip locked
  loop
    select coalesce(jsonb_agg(d || jsonb_build_object(
      'kind', case when (d ->> 'attempts')::integer >= q.max_attempts then 'dead' else 'retry' end,
      'reason', 'lease-lapsed',
      'history', coalesce(nullif(d -> 'history', 'null'), '[]') || jsonb_build_object(
        'attempt', (d ->> 'attempts')::integer, 'at', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'kind', 'lease-lapsed', 'message', 'the lease of ' || l.holder || ' lapsed'))
      order by (d ->> 'position')::bigint), '[]')
    into facts
    from jsonb_array_elements(l.deliveries) d
    join queues q on q.id = l.queue
    where not exists (select from settled s where s.lease = l.id and s.position = (d ->> 'position')::bigint);
    perform apply_outcomes(l.queue, null, facts);
    delete from settled where lease = l.id;
    delete from leases where id = l.id;
    returned := returned + (select count(*) from jsonb_array_elements(facts) f where f ->> 'kind' = 'retry');
    dead := dead + (select count(*) from jsonb_array_elements(facts) f where f ->> 'kind' = 'dead');
  end loop;
end $$;

-- For other languages: lease, work, then complete, retry or dead_letter with the lease's token.
create or replace function queue_id(_queue text) returns integer
language plpgsql stable set search_path from current
as $$
declare
  found_id integer := (select id from queues where name = _queue);
begin
  if found_id is null then
    raise exception 'Cannot use queue "%": it does not exist; declare it first', _queue using errcode = 'PH003';
  end if;
  return found_id;
end $$;

-- What is expired, what this consumer has processed before, and what the log holds no more is settled here and not handed out.
create or replace function receive(queue text, max integer default 1, lease interval default '1 minute')
returns table (lease_id bigint, token uuid, "position" bigint, message_id uuid, type text, version integer, exchange text, routing_key text,
               key text, headers json, payload json, body bytea, content_type text, attempt integer, published_at timestamptz, expires_at timestamptz)
language plpgsql set search_path from current
as $$
declare
  d record;
  leased integer;
  over jsonb;
  erased boolean;
  handed_out integer := 0;
  keeps_expired boolean := coalesce((select q.flow ->> 'expired' = 'dead-letter' from queues q where q.name = receive.queue), false);
begin
  if max not between 1 and 1000 then
    raise exception 'Cannot receive from "%": max is not within 1 and 1000', queue using errcode = 'PH001';
  end if;
  if not coalesce(lease between interval '1 millisecond' and interval '10 years', false) then
    raise exception 'Cannot receive from "%": lease is not within 1 millisecond and ten years', queue using errcode = 'PH001';
  end if;
  loop
    leased := 0;
    over := '[]';
    for d in
      select l.lease, l.token, l.expires_at as until, (l.delivery).*
      from lease_ready(queue_id(receive.queue), receive.max, extract(epoch from receive.lease) * 1000, array_fill(0::bigint, array[10]),
                       coalesce(nullif(current_setting('application_name'), ''), 'sql'), receive.queue) l
      where l.lease is not null
    loop
      leased := leased + 1;
      erased := not d.missing and d.payload is null and d.body is null;
      if d.duplicate or d.missing or d.expired or erased then
        over := over || jsonb_build_object('position', d.position,
          'reason', case when d.missing then 'LOG_MISSING' when erased then 'erased' else 'expired' end,
          'kind', case when d.duplicate then 'completed' when d.missing or erased or keeps_expired then 'dead' else 'expired' end);
        continue;
      end if;
      handed_out := handed_out + 1;
      lease_id := d.lease; token := d.token; position := d.position; message_id := d.message_id; type := d.type; version := d.version;
      exchange := d.exchange; routing_key := d.routing_key; key := d.key; headers := d.headers::json; payload := d.payload::json;
      body := d.body; content_type := d.content_type; attempt := d.attempts; published_at := d.published_at; expires_at := d.until;
      return next;
    end loop;
    if over <> '[]' then
      perform settle_leased(d.lease, d.token, queue, over, false);
    end if;
    exit when leased = 0 or handed_out > 0;
  end loop;
end $$;

-- Raises unless the lease settled the delivery just now.
create or replace function must_be_settled(_settled bigint[], _position bigint) returns void
language plpgsql
as $$
begin
  if not coalesce(_position = any (_settled), false) then
    raise exception 'Cannot settle delivery %: its lease has lapsed, is not yours, or has settled it before', _position using errcode = 'PH004';
  end if;
end $$;

-- Completes a delivery in the caller's transaction, with its row in the inbox. False: the message was processed before, by
-- another delivery of it, so roll back what you did for this one and complete it alone.
create or replace function complete(lease_id bigint, token uuid, "position" bigint) returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  consumer text;
  message uuid;
  known uuid[];
begin
  select q.name, (d ->> 'message_id')::uuid into consumer, message
  from leases l
  join queues q on q.id = l.queue
  cross join jsonb_array_elements(l.deliveries) d
  where l.id = complete.lease_id and (d ->> 'position')::bigint = complete.position;
  if message is not null then
    known := note_processed(consumer, array[message]);
  end if;
  perform must_be_settled(array(select settle_leased(complete.lease_id, complete.token, consumer,
    jsonb_build_array(jsonb_build_object('position', complete.position, 'kind', 'completed')), false)), complete.position);
  return known = '{}';
end $$;

-- The milliseconds to wait after an attempt, by the policy of a queue; as in TypeScript, where it is src/rules/retry.ts.
create or replace function retry_delay_ms(_policy jsonb, _attempt integer, _random double precision default random()) returns double precision
language plpgsql set search_path from current
as $$
declare
  strategy text := coalesce(_policy ->> 'strategy', 'exponential');
  lowest double precision := greatest(1, coalesce((_policy ->> 'minMs')::double precision, 1000));
  highest double precision := greatest(lowest, coalesce((_policy ->> 'maxMs')::double precision, 300000));
  factor double precision := greatest(1, coalesce((_policy ->> 'factor')::double precision, 2));
  delays double precision[] := array(select d::double precision from jsonb_array_elements_text(coalesce(_policy -> 'delaysMs', '[]')) d);
  own double precision;
  following double precision;
begin
  select
    max(g.delay) filter (where g.times = _attempt - 1), max(g.delay) filter (where g.times = _attempt) into own, following
  from (
    select t.times, least(highest, case strategy
      when 'fixed' then lowest
      when 'linear' then lowest * (t.times + 1)
      when 'list' then delays[least(t.times + 1, cardinality(delays))]
      -- no further than it takes to get to the highest: a power overflows
      else lowest * case when factor = 1 then 1 else power(factor, least(t.times, ceil(ln(highest / lowest) / ln(factor)))) end
    end) as delay
    from (values (_attempt - 1), (_attempt)) t (times)
  ) g;
  if _policy ->> 'jitter' = 'none' then
    return round(own);
  end if;
  own := case when strategy = 'list' then own else lowest end;
  return round(own + _random * (greatest(own, following) - own));
end $$;

-- Puts a delivery back for another attempt after a delay, by default what the policy of its queue says; the last attempt is a dead letter.
create or replace function retry(lease_id bigint, token uuid, "position" bigint, delay interval default null, error text default null) returns void
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  d jsonb;
  most integer;
  policy jsonb;
begin
  if delay < interval '0' or delay > interval '10 years' then
    raise exception 'Cannot retry delivery %: its delay is not within 0 and ten years', position using errcode = 'PH001';
  end if;
  select e, q.max_attempts, q.retry into d, most, policy
  from leases l
  join queues q on q.id = l.queue
  cross join jsonb_array_elements(l.deliveries) e
  where l.id = retry.lease_id and (e ->> 'position')::bigint = retry.position;
  perform must_be_settled(array(select settle_leased(retry.lease_id, retry.token, null,
    jsonb_build_array(jsonb_build_object(
      'position', retry.position,
      'kind', case when (d ->> 'attempts')::integer >= most then 'dead' else 'retry' end,
      'reason', 'max-attempts',
      'failed', true,
      'delay_ms', coalesce(extract(epoch from delay) * 1000, retry_delay_ms(policy, (d ->> 'attempts')::integer)),
      'history', coalesce(nullif(d -> 'history', 'null'), '[]') || jsonb_build_object(
        'attempt', (d ->> 'attempts')::integer, 'at', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'kind', 'error', 'message', left(coalesce(error, ''), 500)))), false)), retry.position);
end $$;

-- Ends a delivery as a dead letter with a reason.
create or replace function dead_letter(lease_id bigint, token uuid, "position" bigint, reason text) returns void
language plpgsql set search_path from current
as $$
begin
  perform must_be_settled(array(select settle_leased(dead_letter.lease_id, dead_letter.token, null,
    jsonb_build_array(jsonb_build_object('position', dead_letter.position, 'kind', 'dead', 'reason', left(coalesce(reason, 'rejected'), 255))), false)),
    dead_letter.position);
end $$;

-- Ends a delivery of which nothing came, now or later: counted, not kept.
create or replace function discard(lease_id bigint, token uuid, "position" bigint) returns void
language plpgsql set search_path from current
as $$
begin
  perform must_be_settled(array(select settle_leased(discard.lease_id, discard.token, null,
    jsonb_build_array(jsonb_build_object('position', discard.position, 'kind', 'discarded')), false)), discard.position);
end $$;

-- Renews a lease; returns its new end.
create or replace function extend(lease_id bigint, token uuid, lease interval default '1 minute') returns timestamptz
language plpgsql set search_path from current
as $$
declare
  until timestamptz;
begin
  if not coalesce(lease between interval '1 millisecond' and interval '10 years', false) then
    raise exception 'Cannot extend lease %: its new time is not within 1 millisecond and ten years', lease_id using errcode = 'PH001';
  end if;
  until := (select e from extend_lease(extend.lease_id, extend.token, extract(epoch from lease) * 1000) e);
  if until is null then
    raise exception 'Cannot extend lease %: it has lapsed or is not yours', lease_id using errcode = 'PH004';
  end if;
  return until;
end $$;
