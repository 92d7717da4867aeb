-- A claimed delivery with its message. `missing` says that the log holds its body no more.
do $$
begin
  if to_regtype('claimed') is null then
    create type claimed as (
      priority smallint, "position" bigint, message bigint, message_id uuid, attempts integer, crashes integer, history jsonb,
      duplicate boolean, missing boolean, expired boolean,
      exchange text, routing_key text, type text, version integer, key text, correlation_id text, causation_id text,
      headers text, payload text, body bytea, content_type text, published_at timestamptz
    );
  end if;
end $$;

-- Reads messages by known ids, which are distinct, from their partitions and not through the outbox: a handler's transaction
-- holds its locks to the end, and neither retention nor a new partition waits for it then. What is in no partition is held.
-- A text that names one table is planned in a fifth of the time of one that joins it.
--
-- Volatile, so that the second look has a later snapshot than the first: whoever waited here for a partition to be emptied
-- sees what was copied out of it.
create or replace function messages_by_id(_ids bigint[]) returns setof outbox
language plpgsql set search_path from current set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
  part record;
  more integer;
  missing integer := cardinality(_ids);
begin
  -- most often all of them lie in one partition
  select p.name into part from partitions p
  where p.emptied_at is null
    and p.from_id <= (select min(i) from unnest(_ids) i) and (p.to_id is null or p.to_id > (select max(i) from unnest(_ids) i));
  if found then
    return query execute format('select * from %I where id = any ($1)', part.name) using _ids;
    get diagnostics more = row_count;
    if more < missing then
      return query select * from held where id = any (_ids);
    end if;
    return;
  end if;

  for part in
    select p.name, array_agg(i.id) as ids
    from unnest(_ids) i (id)
    join partitions p on i.id >= p.from_id and (p.to_id is null or i.id < p.to_id)
    where p.emptied_at is null
    group by p.name
  loop
    return query execute format('select * from %I where id = any ($1)', part.name) using part.ids;
    get diagnostics more = row_count;
    missing := missing - more;
  end loop;
  if missing > 0 then
    return query select * from held where id = any (_ids);
  end if;
end $$;

-- Joins deliveries with their messages. `_known` are the ids that the consumer has processed before; of two deliveries of one
-- message the second is a duplicate too. Null: each message is new, and stands here once. Bodies that are more together than
-- the queue hands out at once are left out, with their deliveries: those are the last in the order of a claim, and the first is
-- never among them.
create or replace function with_messages(_taken ready[], _known uuid[]) returns setof claimed
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
  ids bigint[] := array(select u.message from unnest(_taken) u);
  twins uuid[];
  flow jsonb := (select q.flow from queues q where q.id = _taken[1].queue);
  most bigint := coalesce((flow ->> 'maxBatchBytes')::bigint, 16777216);
  ttl double precision := flow ->> 'ttlMs';
begin
  if _known is not null then
    ids := array(select distinct i from unnest(ids) i);
    twins := array(select u.message_id from unnest(_taken) u group by u.message_id having count(*) > 1);
  end if;
  return query
  select d.priority, d.position, d.message, d.message_id, d.attempts, d.crashes, d.history, d.duplicate, d.missing, d.expired,
         d.exchange, d.routing_key, d.type, d.version, d.key, d.correlation_id, d.causation_id, d.headers, d.payload, d.body,
         d.content_type, d.published_at
  from (
    select t.priority, t.position, t.message, t.message_id, t.attempts, t.crashes, t.history,
           _known is not null and (t.message_id = any (_known) or t.message_id = any (twins) and exists (
             select from unnest(_taken) u where u.message_id = t.message_id and (u.priority, u.position) < (t.priority, t.position))) as duplicate,
           m.id is null as missing,
           coalesce(m.expires_at <= clock_timestamp() or ttl is not null and outlived(ttl, m.published_at, m.deliver_at, t.history), false) as expired,
           m.exchange, m.routing_key, m.type, m.version, m.key, m.correlation_id, m.causation_id,
           m.headers::text as headers, m.payload, m.body, m.content_type, m.published_at, m.bytes,
           sum(m.bytes) over (order by t.priority, t.position) as bytes_so_far
    from unnest(_taken) t
    left join (
      select b.*, coalesce(octet_length(b.payload), octet_length(b.body), 0) as bytes
      from (
        select id, expires_at, deliver_at, exchange, routing_key, type, version, key, correlation_id, causation_id, headers,
               payload::text as payload, body, content_type, published_at
        from messages_by_id(ids)
      ) b
    ) m on m.id = t.message
  ) d
  where d.bytes_so_far is null or d.bytes_so_far <= most or d.bytes_so_far = d.bytes
  order by d.priority, d.position;
end $$;

-- Whether an id says when it was made.
create or replace function is_v7(_id uuid) returns boolean
language sql immutable parallel safe
as $$ select get_byte(uuid_send(_id), 6) >> 4 = 7 $$;

-- Notes processed ids for a consumer, in the order of the ids: two batches that share ids wait for each other and never
-- deadlock. Returns those that were there already. A transaction that holds one is waited for, two seconds at most.
create or replace function note_processed(_consumer text, _ids uuid[]) returns uuid[]
language plpgsql set search_path from current set enable_seqscan = off set plan_cache_mode = force_generic_plan set lock_timeout = '2s'
as $$
declare
  fresh uuid[];
  fresh_other uuid[] := '{}';
begin
  with noted as (
    insert into inbox (message_id, consumer)
    select id, _consumer from (select distinct id from unnest(_ids) id where is_v7(id) order by id) ids
    on conflict do nothing
    returning message_id
  )
  select coalesce(array_agg(message_id), '{}') into fresh from noted;
  if cardinality(fresh) = cardinality(_ids) then
    return '{}';
  end if;
  if exists (select from unnest(_ids) id where not is_v7(id)) then
    with noted as (
      insert into inbox_other (message_id, consumer)
      select id, _consumer from (select distinct id from unnest(_ids) id where not is_v7(id) order by id) ids
      on conflict do nothing
      returning message_id
    )
    select coalesce(array_agg(message_id), '{}') into fresh_other from noted;
  end if;
  return array(select id from unnest(_ids) id except select unnest(fresh || fresh_other));
end $$;

-- Takes back the notes of attempts that failed: what failed left no effect.
create or replace function forget_processed(_consumer text, _ids uuid[]) returns void
language plpgsql set search_path from current set enable_seqscan = off
as $$
begin
  delete from inbox where consumer = _consumer and message_id = any (_ids);
  delete from inbox_other where consumer = _consumer and message_id = any (_ids);
end $$;

-- Notes processed ids one by one, for a claim that waited in vain: who works on another delivery of one of these messages
-- takes long. Its deliveries are put off for a second, uncharged; the others are taken.
create or replace function note_or_put_off(_consumer text, _wanted ready[], out taken ready[], out known uuid[])
language plpgsql set search_path from current set lock_timeout = '50ms'
as $$
declare
  r ready;
  last_id uuid;
begin
  known := '{}';
  foreach r in array array(select w from unnest(_wanted) w order by not is_v7(w.message_id), w.message_id, w.priority, w.position) loop
    begin
      if r.message_id = last_id then
        taken := taken || r;
        continue;
      elsif is_v7(r.message_id) then
        insert into inbox (message_id, consumer) values (r.message_id, _consumer) on conflict do nothing;
      else
        insert into inbox_other (message_id, consumer) values (r.message_id, _consumer) on conflict do nothing;
      end if;
      if not found then
        known := known || r.message_id;
      end if;
      taken := taken || r;
      last_id := r.message_id;
    exception when lock_not_available then
      insert into scheduled (due_at, queue, priority, message, message_id, attempts, crashes, history)
      values (clock_timestamp() + interval '1 second', r.queue, r.priority, r.message, r.message_id, r.attempts, r.crashes, r.history);
    end;
  end loop;
end $$;

-- Puts what of a claim would have been too much at once into its place again, all but the first `_brought` deliveries. They are
-- told of without their messages, `missing` null: should the claim be rolled back, its process is to know them for its own.
create or replace function leave_out(_consumer text, _taken ready[], _known uuid[], _brought integer) returns setof claimed
language plpgsql set search_path from current
as $$
declare
  kept uuid[] := array(select t.message_id from unnest(_taken) t order by t.priority, t.position limit _brought);
begin
  perform put_back(_taken, cardinality(_taken) - _brought);
  perform forget_processed(_consumer, array(
    select t.message_id from unnest(_taken) t where t.message_id <> all (coalesce(_known, '{}')) and t.message_id <> all (kept)));
  return query
  select (jsonb_populate_record(null::claimed, to_jsonb(t) || '{"duplicate": false, "expired": false}')).*
  from (select * from unnest(_taken) t order by t.priority, t.position offset _brought) t;
end $$;

-- Notes ids that are taken for new, in the order of the ids as everybody does. One that is known, or given twice, fails it:
-- a plain insert is half the work of one that asks first.
create or replace function note_new(_consumer text, _ids uuid[]) returns void
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan set lock_timeout = '2s'
as $$
begin
  insert into inbox (message_id, consumer) select id, _consumer from unnest(_ids) id order by id;
end $$;

-- Notes rows that the caller has just deleted from ready in the inbox: the deliveries are this transaction's from here on.
-- `known` are the ids processed before, null when all are new. A claim does not fail because somebody works on the same
-- message: its rows would pass for the leavings of a crash. So whoever takes too long has its deliveries put off.
create or replace function note_taken(_consumer text, inout taken ready[], out known uuid[])
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan
as $$
declare
  ids uuid[] := array(select t.message_id from unnest(taken) t);
begin
  if (select bool_and(is_v7(id)) from unnest(ids) id) then
    begin
      perform note_new(_consumer, ids);
      return;
    exception
      when unique_violation then null;
      when lock_not_available or deadlock_detected then
        select n.taken, n.known into taken, known from note_or_put_off(_consumer, taken) n;
        return;
    end;
  end if;
  begin
    known := note_processed(_consumer, ids);
  exception when lock_not_available or deadlock_detected then
    select n.taken, n.known into taken, known from note_or_put_off(_consumer, taken) n;
  end;
end $$;

-- Notes rows that the caller has just deleted from ready, and reads their messages.
create or replace function take(_consumer text, _taken ready[]) returns setof claimed
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan
as $$
declare
  noted record;
  brought integer;
begin
  if _taken is null then
    return;
  end if;
  noted := note_taken(_consumer, _taken);
  if noted.taken is not null then
    return query select * from with_messages(noted.taken, noted.known);
    get diagnostics brought = row_count;
    if brought < cardinality(noted.taken) then
      return query select * from leave_out(_consumer, noted.taken, noted.known, brought);
    end if;
  end if;
end $$;

-- Claims up to `_limit` rows of a queue for one transaction: they are gone from ready and noted in the inbox if and only if
-- it commits. Most urgent first, oldest first within one priority, starting from the floor the consumer remembers for each
-- priority. Rows that others hold are skipped, never waited for. Rows with a raw xmax came back from a claim that did not
-- commit and are passed over, and so are those charged with a crash. The plan is the same whatever is asked: planning it
-- anew, as Postgres would for a limit it does not know, costs more than running it.
create or replace function claim(_queue integer, _consumer text, _limit integer, _floors bigint[]) returns setof claimed
language plpgsql set search_path from current
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  taken ready[];
begin
  with found as materialized (
    select r.row
    from unnest(_floors) with ordinality f (floor, n)
    cross join lateral (
      select ready.ctid as row
      from ready
      where ready.queue = _queue and ready.priority = (f.n - 1)::smallint and ready.position >= f.floor
        and ready.xmax = '0'::xid and ready.crashes = 0
      order by ready.position
      limit _limit
      for update skip locked
    ) r
    limit _limit
  ),
  gone as (
    delete from ready where ctid = any (array(select row from found)) returning ready as row
  )
  select array_agg(gone.row) into taken from gone;
  return query select * from take(_consumer, taken);
end $$;

-- Locks rows of a queue for a lease, in the order of a claim. Leases count the attempts of a process that dies, so
-- nothing that came back is passed over.
create or replace function lock_to_lease(_queue integer, _limit integer, _floors bigint[]) returns tid[]
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
  locked tid[];
begin
  with found as materialized (
    select r.row
    from unnest(_floors) with ordinality f (floor, n)
    cross join lateral (
      select ready.ctid as row
      from ready
      where ready.queue = _queue and ready.priority = (f.n - 1)::smallint and ready.position >= f.floor
      order by ready.position
      limit _limit
      for update skip locked
    ) r
    limit _limit
  )
  select array_agg(row) into locked from found;
  return locked;
end $$;

-- Claims the caller's own rows again after a rollback its process survived, by their positions.
create or replace function claim_again(_queue integer, _consumer text, _priorities smallint[], _positions bigint[]) returns setof claimed
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  taken ready[];
begin
  with found as materialized (
    select r.row
    from unnest(_priorities, _positions) as p (priority, position)
    cross join lateral (
      select ctid as row from ready where queue = _queue and priority = p.priority and position = p.position for update skip locked
    ) r
  ),
  gone as (
    delete from ready where ctid = any (array(select row from found)) returning ready as row
  )
  select array_agg(gone.row) into taken from gone;
  return query select * from take(_consumer, taken);
end $$;

-- Claims one delivery that is charged with a crash, to be attempted alone; found through an index of such rows alone.
create or replace function claim_alone(_queue integer, _consumer text) returns setof claimed
language plpgsql set search_path from current set enable_seqscan = off set enable_sort = off
as $$
declare
  taken ready[];
begin
  with found as materialized (
    select r.ctid as row
    from ready r
    where r.queue = _queue and r.crashes > 0 and r.xmax = '0'::xid
    order by r.priority, r.position
    limit 1
    for update skip locked
  ),
  gone as (
    delete from ready where ctid = any (array(select row from found)) returning ready as row
  )
  select array_agg(gone.row) into taken from gone;
  return query select * from take(_consumer, taken);
end $$;

-- The lowest row of each priority of a queue that is there for anybody, from given positions on: free, in somebody's claim, or left by
-- one that did not commit. The highest position there can be: nothing is. `top` is the last position given out, in any queue. The dead
-- are on no page that is all visible, and a scan of the index alone reads them for half as much again.
create or replace function lowest_ready(_queue integer, _from bigint[], out lowest bigint[], out top bigint)
language plpgsql stable set search_path from current
set enable_seqscan = off set enable_bitmapscan = off set enable_indexonlyscan = off set enable_sort = off
as $$
begin
  top := coalesce(pg_sequence_last_value('ready_position'::regclass), 0);
  lowest := array(
    select coalesce((
      select position from ready
      where queue = _queue and priority = (f.n - 1)::smallint and position >= f.position
      order by position
      limit 1
    ), 9223372036854775807)
    from unnest(_from) with ordinality f (position, n));
end $$;

-- Rows between positions of the caller's that came back from a claim that did not commit: their holder may be dead. A holder that
-- lives takes its own again, so what is seen here once is not charged yet.
create or replace function suspects(_queue integer, _limit integer, _from bigint[], _below bigint[])
returns table (priority smallint, "position" bigint, message_id uuid, crashes integer)
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off
as $$
#variable_conflict use_column
begin
  return query
  select r.priority, r.position, r.message_id, r.crashes
  from unnest(_from, _below) with ordinality b (ground, floor, n)
  cross join lateral (
    select priority, position, message_id, crashes
    from ready
    where queue = _queue and priority = (b.n - 1)::smallint and position >= b.ground and position < b.floor and xmax <> '0'::xid
    order by position
    limit _limit
    for update skip locked
  ) r
  limit _limit;
end $$;
