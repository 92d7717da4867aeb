-- Puts dead letters back, due now, as if they had never been attempted: attempts and crashes begin at 0, the history stays
-- and tells who did it. A message that the log holds no more is held from the dead letter's own copy. Two redrives of one
-- dead letter: the second waits for the first and finds nothing. A row per dead letter that was there; `redriven` is false
-- where neither the log nor the dead letter has the message, and then it stays a dead letter.
create or replace function redrive(_ids bigint[], _by text default null, _queue integer default null)
returns table (id bigint, queue text, redriven boolean)
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
#variable_conflict use_column
begin
  -- upkeep lets go of messages that nothing names, and cannot see what is named by a transaction that has not committed
  perform from turns where name = 'upkeep' for share;

  return query
  with chosen as materialized (
    select id from dead_letters d where d.id = any (_ids) and (_queue is null or d.queue = _queue) order by id for update
  ),
  named as materialized (
    select d.id, d.queue, d.message, d.type is not null as copied from dead_letters d where d.id = any (array(select id from chosen))
  ),
  letters as materialized (
    select n.id, n.queue, n.copied, m.id is not null as kept
    from named n
    left join messages_by_id(array(select message from named)) m on m.id = n.message
  ),
  gone as (
    delete from dead_letters where id in (select l.id from letters l where l.kept or l.copied) returning *
  ),
  put_held as (
    insert into held (id, message_id, exchange, routing_key, type, version, key, priority, correlation_id, causation_id,
                      headers, payload, body, content_type, published_at)
    select g.message, g.message_id, g.exchange, g.routing_key, g.type, g.version, g.key, 9 - g.priority, g.correlation_id, g.causation_id,
           g.headers, g.payload, g.body, g.content_type, g.published_at
    from gone g
    join letters l on l.id = g.id
    where not l.kept
    on conflict do nothing
  ),
  put_back as (
    insert into scheduled (due_at, queue, priority, message, message_id, attempts, crashes, history)
    select clock_timestamp(), queue, priority, message, message_id, 0, 0, history || jsonb_build_object(
             'kind', 'redriven', 'name', 'Redriven', 'attempt', attempts,
             'at', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
             'message', format('dead-lettered as "%s", redriven by %s', reason, coalesce(left(_by, 100), 'an unknown hand')))
    from (select * from gone order by id) g
  ),
  counts as (
    insert into tally (scope, name, counter, n)
    select 'queue', q.name, 'redriven', count(*)
    from gone g
    join queues q on q.id = g.queue
    group by q.name
  )
  select l.id, q.name, l.kept or l.copied
  from letters l
  join queues q on q.id = l.queue
  order by l.id;
  if found then
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
create or replace function purge_dead_letters(_ids bigint[], _queue integer default null) returns table (id bigint, queue text)
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
  return query
  select g.id, q.name from unnest(ids, queues_of) with ordinality g (id, queue, n) join queues q on q.id = g.queue order by g.n;
end $$;

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
  return queues_of is not null;
end $$;
