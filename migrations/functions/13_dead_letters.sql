-- Notes who did what by hand.
create or replace function note_act(_by text, _act text, _queue text, _facts jsonb) returns void
language sql set search_path from current
as $$ insert into journal (by, act, queue, facts) values (left(_by, 100), _act, _queue, _facts) $$;

-- Puts dead letters back, due now, as if they had never been attempted: attempts and crashes begin at 0, the history stays
-- and tells who did it. To their own queue or to another, where they count as routed, and as purged where they were; with
-- their own payload or, one at a time, with another. A message that the log holds no more is held from the dead letter's own
-- copy; one whose payload is another's, or whose time to live is over, gets a place of its own in held: other queues go on with
-- what was published, and a redriven message runs. Two redrives of one dead letter: the second waits for the first and finds
-- nothing. A row per dead letter that was there; `redriven` is false where neither the log nor the dead letter has the
-- message, or the group of a stream is gone, and then it stays a dead letter. A dry run answers the same and changes nothing.
create or replace function redrive(
  _ids bigint[], _by text default null, _queue integer default null, _to integer default null, _payload text default null, _dry boolean default false
)
returns table (id bigint, queue text, redriven boolean)
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  edited json := _payload::json;
  target text := (select name from queues where id = _to and kind = 'standard');
  problem text;
begin
  if _to is not null and target is null then
    raise exception 'Cannot use queue "%": it is no standard queue', _to using errcode = 'PH003';
  end if;
  if edited is not null then
    perform refuse_unreadable(_payload);
    problem := json_problem('payload', _payload, (select payload_bytes from settings));
    if cardinality(_ids) <> 1 then
      problem := 'a payload is for one dead letter';
    end if;
    if problem is not null then
      raise exception 'Cannot redrive: %', problem using errcode = 'PH001';
    end if;
  end if;
  -- upkeep lets go of messages that nothing names, and cannot see what is named by a transaction that has not committed
  perform from turns where name = 'upkeep' for share;

  return query
  with chosen as materialized (
    select id from dead_letters d where d.id = any (_ids) and (_queue is null or d.queue = _queue) order by id for update
  ),
  named as materialized (
    select d.id, d.queue, d.message, d.type is not null as copied,
           _to is not null or q.kind = 'standard' or exists (select from stream_groups g where g.queue = d.queue and g.name = d.grp) as wanted
    from dead_letters d
    join queues q on q.id = d.queue
    where d.id = any (array(select id from chosen))
  ),
  letters as materialized (
    select n.id, n.queue, n.wanted and (n.copied or m.id is not null and edited is null) as fit, m.id is not null as kept,
           n.copied and (edited is not null or coalesce(m.expires_at <= clock_timestamp(), false)) as renewed
    from named n
    left join messages_by_id(array(select message from named)) m on m.id = n.message
  ),
  gone as (
    delete from dead_letters where not _dry and id in (select l.id from letters l where l.fit) returning *
  ),
  placed as materialized (
    select g.*, l.kept, l.renewed, case when l.renewed then nextval('outbox_id') else g.message end as place
    from (select * from gone order by id) g
    join letters l on l.id = g.id
  ),
  put_held as (
    insert into held (id, message_id, exchange, routing_key, type, version, key, priority, correlation_id, causation_id,
                      headers, payload, body, content_type, published_at)
    select p.place, p.message_id, p.exchange, p.routing_key, p.type, p.version, p.key, 9 - p.priority, p.correlation_id, p.causation_id,
           p.headers, coalesce(edited, p.payload), case when edited is null then p.body end, case when edited is null then p.content_type end,
           p.published_at
    from placed p
    where p.renewed or not p.kept
    on conflict do nothing
  ),
  put_back as (
    insert into scheduled (due_at, queue, priority, message, message_id, attempts, crashes, history)
    select clock_timestamp(), coalesce(_to, p.queue), p.priority, p.place, p.message_id, 0, 0, p.history || jsonb_build_object(
             'kind', 'redriven', 'name', 'Redriven', 'attempt', p.attempts,
             'at', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
             'message', format('dead-lettered as "%s", redriven by %s%s%s', p.reason, coalesce(left(_by, 100), 'an unknown hand'),
                               case when _to <> p.queue then format(' from queue "%s"', q.name) end,
                               case when edited is not null then ' with another payload' end))
    from placed p
    join queues q on q.id = p.queue
    where _to is not null or q.kind = 'standard'
    order by p.id
  ),
  -- of a stream it is put aside for its group, alone and due
  aside as materialized (
    select g.id as grp, 'message ' || p.message_id as key, lane_of(p.key, p.message_id) as lane, p.history, p.place, p.message_id
    from placed p
    join queues q on q.id = p.queue and q.kind = 'stream'
    join stream_groups g on g.queue = p.queue and g.name = p.grp
    where _to is null
  ),
  put_keys as (
    insert into parked_keys (grp, key, lane, scope, attempts, history, due_at)
    select distinct on (grp, key) grp, key, lane, 'message', 0, history, clock_timestamp() from aside order by grp, key
    on conflict do nothing
  ),
  put_aside as (
    insert into parked (grp, key, message, message_id) select grp, key, place, message_id from aside
  ),
  by_queue as materialized (
    select q.id, q.name, count(*) as n, jsonb_agg(p.id order by p.id) as ids
    from placed p
    join queues q on q.id = p.queue
    group by q.id, q.name
  ),
  counts as (
    insert into tally (scope, name, counter, n)
    select 'queue', b.name, case when b.id = coalesce(_to, b.id) then 'redriven' else 'dead-purged' end, b.n from by_queue b
    union all
    select 'queue', target, 'routed', b.n from by_queue b where b.id <> _to
    union all
    -- the account of a stream is of what died there, and this is not dead
    select 'queue', b.name, 'completed', b.n from by_queue b join queues q on q.id = b.id and q.kind = 'stream' where _to is null
  ),
  noted as (
    insert into journal (by, act, queue, facts)
    select left(_by, 100), 'redrive', b.name, jsonb_strip_nulls(jsonb_build_object(
      'ids', b.ids, 'to', case when b.id <> _to then target end, 'edited', case when edited is not null then true end))
    from by_queue b
  )
  select l.id, q.name, l.fit
  from letters l
  join queues q on q.id = l.queue
  order by l.id;
  if found and not _dry then
    perform pg_notify(relay_channel(), '');
  end if;
end $$;

-- Counts dead letters that were deleted for good, by queue.
create or replace function count_dead_purged(_queues integer[]) returns void
language sql set search_path from current
as $$
  insert into tally (scope, name, counter, n)
  select 'queue', q.name, 'dead-purged', count(*)
  from unnest(_queues) gone (queue)
  join queues q on q.id = gone.queue
  group by q.name
$$;

-- Deletes dead letters for good. A row per dead letter that was there.
create or replace function purge_dead_letters(_ids bigint[], _queue integer default null, _by text default null) returns table (id bigint, queue text)
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  ids bigint[];
  queues_of integer[];
begin
  with chosen as materialized (
    select id from dead_letters d where d.id = any (_ids) and (_queue is null or d.queue = _queue) order by id for update
  ),
  gone as (
    delete from dead_letters where id in (select id from chosen) returning id, queue
  )
  select array_agg(id order by id), array_agg(queue order by id) into ids, queues_of from gone;
  perform count_dead_purged(queues_of);
  perform note_act(_by, 'purge-dead', q.name, jsonb_build_object('ids', jsonb_agg(g.id order by g.id)))
  from unnest(ids, queues_of) g (id, queue)
  join queues q on q.id = g.queue
  group by q.name;
  return query
  select g.id, q.name from unnest(ids, queues_of) with ordinality g (id, queue, n) join queues q on q.id = g.queue order by g.n;
end $$;

-- Publishes a copy of what dies, where its queue says: a message of its own, caused by the one that died, with the story in its
-- headers. It says which queues it has died in, and dying in one of them again is the end: no circle goes on for ever.
create or replace function send_dead_letter_onward() returns trigger
language plpgsql set search_path from current
as $$
declare
  q queues;
  died_in jsonb := coalesce(new.headers::jsonb -> 'dead-letter-queues', '[]');
begin
  select * into q from queues where id = new.queue;
  if q.dead_letter is null or new.type is null or died_in ? q.name then
    return null;
  end if;
  insert into outbox (message_id, exchange, routing_key, type, version, key, priority, correlation_id, causation_id, headers, payload, body, content_type)
  values (
    uuid_v7(), q.dead_letter ->> 'exchange', coalesce(q.dead_letter ->> 'routingKey', new.routing_key), new.type, new.version, new.key,
    9 - new.priority, coalesce(new.correlation_id, new.message_id::text), new.message_id::text,
    (coalesce(new.headers::jsonb, '{}') || jsonb_build_object(
      'dead-letter-id', new.id::text, 'dead-letter-reason', new.reason, 'dead-letter-attempts', new.attempts,
      'dead-letter-queues', died_in || to_jsonb(q.name)))::json,
    new.payload, new.body, new.content_type);
  return null;
end $$;

create or replace trigger send_onward after insert on dead_letters for each row execute function send_dead_letter_onward();

-- Forgets dead letters past retention, the oldest ten thousand at a time.
create or replace function trim_dead_letters(_retention_ms double precision) returns boolean
language plpgsql set search_path from current
as $$
declare
  queues_of integer[];
begin
  if not upkeep_turn() then
    return false;
  end if;
  with oldest as (
    select ctid, dead_at from dead_letters order by id limit 10000
  ),
  gone as (
    delete from dead_letters
    where ctid = any (array(select ctid from oldest where dead_at < clock_timestamp() - _retention_ms * interval '1 ms'))
    returning queue
  )
  select array_agg(queue) into queues_of from gone;
  perform count_dead_purged(queues_of);
  delete from journal where ctid = any (array(select ctid from journal order by id limit 1000)) and at < clock_timestamp() - interval '1 year';
  return queues_of is not null;
end $$;
