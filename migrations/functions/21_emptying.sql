-- Deletes what waits in a queue, ready or scheduled, up to `_limit`; what a consumer holds is its business. Returns how many.
create or replace function purge_queue(_queue integer, _limit integer) returns integer
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  gone integer;
  more integer;
begin
  with chosen as materialized (
    select ctid from ready where queue = _queue order by priority, position limit _limit for update skip locked
  )
  delete from ready where ctid = any (array(select ctid from chosen));
  get diagnostics gone = row_count;
  if gone < _limit then
    with chosen as materialized (
      select ctid from scheduled where queue = _queue limit _limit - gone for update skip locked
    )
    delete from scheduled where ctid = any (array(select ctid from chosen));
    get diagnostics more = row_count;
    gone := gone + more;
  end if;
  perform count_queue(_queue, 'purged', gone);
  delete from lines l
  where l.queue = _queue and not exists (
    select from ready r where r.queue = l.queue and r.priority = l.priority and r.position = l.position);
  return gone;
end $$;

-- What a queue still has, or what is still kept for it.
create or replace function contents_of(_queue integer, out waiting bigint, out leased bigint, out dead bigint)
language sql stable set search_path from current
as $$
  select (select count(*) from (select from ready where queue = _queue limit 1000000) r)
           + (select count(*) from (select from scheduled where queue = _queue limit 1000000) s),
         (select coalesce(sum(jsonb_array_length(l.deliveries) - (select count(*) from settled s where s.lease = l.id)), 0)
            from leases l where l.queue = _queue)::bigint,
         (select count(*) from (select from dead_letters where queue = _queue limit 1000000) d)
$$;

-- A number with its word.
create or replace function counted(_n bigint, _one text, _many text) returns text
language sql immutable
as $$ select _n || ' ' || case when _n = 1 then _one else _many end $$;

-- Deletes a queue with its bindings. One that has anything is refused unless forced; then what waits, what is leased and the
-- dead letters go with it, counted as purged, so that the account of a queue declared again under the name is in balance. So does what
-- the groups of a stream have put aside, which is in no account.
-- False: transactions of consumers hold deliveries, and it is to be tried again when they have ended.
--
-- Under both turns: nothing comes to the queue meanwhile, neither by routing nor by redrive, and what is routed later finds no
-- binding.
create or replace function delete_queue(_queue text, _force boolean, out deleted boolean, out purged bigint)
language plpgsql set search_path from current set lock_timeout = '5s'
as $$
declare
  q integer := queue_id(_queue);
  has record;
  l leases;
  n bigint;
begin
  deleted := false;
  purged := 0;
  perform from turns where name in ('router', 'upkeep') order by name for update;
  has := contents_of(q);
  if not _force and has.waiting + has.leased + has.dead > 0 then
    raise exception 'Cannot delete "%": it has % and %', _queue,
      counted(has.waiting + has.leased, 'delivery', 'deliveries'), counted(has.dead, 'dead letter', 'dead letters') using errcode = 'PH020';
  end if;
  n := (select count(*) from parked p join stream_groups g on g.id = p.grp where g.queue = q);
  if not _force and n > 0 then
    raise exception 'Cannot delete "%": its groups have put % aside', _queue, counted(n, 'message', 'messages') using errcode = 'PH020';
  end if;
  loop
    n := purge_queue(q, 10000);
    exit when n = 0;
    purged := purged + n;
  end loop;
  for l in select * from leases where queue = q for update skip locked loop
    n := jsonb_array_length(l.deliveries) - (select count(*) from settled where lease = l.id);
    delete from settled where lease = l.id;
    delete from leases where id = l.id;
    perform count_queue(q, 'purged', n);
    purged := purged + n;
  end loop;
  has := contents_of(q);
  if has.waiting + has.leased > 0 then
    return;
  end if;
  with gone as (
    delete from dead_letters where queue = q returning queue
  )
  select count(*) into n from gone;
  perform count_queue(q, 'dead-purged', n);
  delete from bindings where queue = q;
  delete from lines where queue = q;
  delete from slots where queue = q;
  delete from spent where queue = q;
  purged := purged + coalesce((select sum(forget_parked(g.id)) from stream_groups g where g.queue = q), 0);
  delete from queues where id = q;
  deleted := true;
  perform pg_notify(flow_channel(), '');
end $$;

-- Takes back deliveries that wait for their time: they end as discarded. Of one queue, or of all that the messages went to.
create or replace function cancel(_messages uuid[], _queue integer default null) returns table (message_id uuid, queue text)
language plpgsql set search_path from current set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  with chosen as materialized (
    select s.due_at, s.position
    from scheduled s
    where s.message_id = any (_messages) and (_queue is null or s.queue = _queue)
    order by s.due_at, s.position
    for update
  ),
  gone as (
    delete from scheduled s using chosen c where s.due_at = c.due_at and s.position = c.position returning s.message_id, s.queue
  ),
  counts as (
    insert into tally (scope, name, counter, n)
    select 'queue', q.name, 'discarded', count(*)
    from gone g
    join queues q on q.id = g.queue
    group by q.name
  )
  select g.message_id, q.name from gone g join queues q on q.id = g.queue;
end $$;
