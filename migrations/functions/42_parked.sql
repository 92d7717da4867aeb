-- Keys whose head failed. The row of the key is locked FOR NO KEY UPDATE by whoever attempts the head: that does not disturb
-- those who put something behind it, who hold it FOR KEY SHARE. It is deleted only when nothing is behind it and nobody is about
-- to put something there.

-- The messages at the head of a parked key, at most so many, for the caller's transaction; with a lease for a time instead,
-- after which somebody else may have them. None when it is not due, held, or somebody else's.
create or replace function take_parked(_group integer, _key text, _limit integer, _lease_ms double precision)
returns table (number bigint, message bigint, message_id uuid, attempts integer, history jsonb, due_at text, missing boolean, m outbox)
language plpgsql set search_path from current set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  k parked_keys;
  until text;
begin
  select * into k from parked_keys p where p.grp = _group and p.key = _key and not p.held and p.due_at <= clock_timestamp() for no key update skip locked;
  if not found then
    return;
  end if;
  if _lease_ms is not null then
    update parked_keys p set due_at = clock_timestamp() + _lease_ms * interval '1 ms' where p.grp = _group and p.key = _key returning p.due_at::text into until;
  end if;
  return query
  with next as materialized (
    select p.number, p.message, p.message_id from parked p where p.grp = _group and p.key = _key order by p.number limit _limit
  )
  select n.number, n.message, n.message_id, case when row_number() over (order by n.number) = 1 then k.attempts else 0 end,
         case when row_number() over (order by n.number) = 1 then k.history else '[]' end, coalesce(until, k.due_at::text), o.id is null, o
  from next n
  left join messages_by_id(array(select message from next)) o on o.id = n.message
  order by n.number;
  if not found then
    perform free_key(_group, _key);
  end if;
end $$;

-- Lets a parked key go when nothing waits behind it. False: something does, or is about to.
create or replace function free_key(_group integer, _key text) returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
begin
  perform from parked_keys where grp = _group and key = _key for update skip locked;
  if not found then
    return false;
  end if;
  -- with a later snapshot than that of the lock
  delete from parked_keys k
  where k.grp = _group and k.key = _key and not exists (select from parked p where p.grp = _group and p.key = _key);
  return found;
end $$;

-- Ends the attempt of parked messages: those that are done go, and what has become the head is due at once or, when it failed, later.
-- With `_due_at` only while the lease that it names is the caller's. `_dead` is a JSON array of those that died.
create or replace function settle_parked(
  _group integer, _key text, _due_at text, _done bigint[], _attempts integer, _history jsonb, _delay_ms double precision, _held boolean, _dead text
) returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  d record;
begin
  perform from parked_keys k where k.grp = _group and k.key = _key and (_due_at is null or k.due_at::text = _due_at) for no key update;
  if not found then
    return false;
  end if;
  for d in
    select x.*
    from json_to_recordset(coalesce(_dead, '[]')::json) x (message bigint, message_id uuid, priority smallint, dead text, attempts integer, history jsonb)
  loop
    perform bury_of_group(_group, d.message, d.message_id, d.priority, d.attempts, d.history, d.dead);
  end loop;
  delete from parked where grp = _group and key = _key and number = any (_done);
  if not free_key(_group, _key) then
    update parked_keys
    set attempts = _attempts, history = dated(_history), due_at = clock_timestamp() + _delay_ms * interval '1 ms', held = _held
    where grp = _group and key = _key;
  end if;
  return true;
end $$;

-- Keys that are due, of the given lanes.
create or replace function due_keys(_group integer, _lanes bigint, _limit integer) returns table (key text)
language sql stable set search_path from current set enable_seqscan = off
as $$
  select k.key
  from parked_keys k
  where k.grp = _group and not k.held and k.due_at <= clock_timestamp() and (_lanes >> k.lane) & 1 = 1
  order by k.due_at
  limit _limit
$$;

-- What is put aside: every key with its head, and how many wait behind it; the longest first.
create or replace function parked_of(_group integer, _key text, _limit integer)
returns table (key text, scope text, lane smallint, attempts integer, history jsonb, due_at timestamptz, held boolean, parked_at timestamptz,
               waiting bigint, message_id uuid, type text, payload text)
language sql stable set search_path from current set enable_seqscan = off
as $$
  select k.key, k.scope, k.lane, k.attempts, k.history, k.due_at, k.held, k.parked_at,
         greatest(0, (select count(*) from parked p where p.grp = k.grp and p.key = k.key) - 1), h.message_id, o.type, o.payload::text
  from parked_keys k
  left join lateral (
    select p.message, p.message_id from parked p where p.grp = k.grp and p.key = k.key order by p.number limit 1
  ) h on true
  left join lateral messages_by_id(array[h.message]) o on h.message is not null
  where k.grp = _group and (_key is null or k.key = _key)
  order by k.parked_at
  limit _limit
$$;

-- Makes the head of a parked key due now. False: no such key.
create or replace function retry_key(_group integer, _key text) returns boolean
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '10s'
as $$
begin
  update parked_keys set due_at = clock_timestamp(), held = false where grp = _group and key = _key;
  return found;
end $$;

-- Passes over the head of a parked key: it becomes a dead letter, and what waits behind it goes on; with `_all` everything that
-- waits does, in its order, as far as nothing fails. The answer is how many were passed over.
create or replace function skip_head(_group integer, _key text, _by text) returns integer
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '10s'
as $$
declare
  k parked_keys;
  head parked;
begin
  select * into k from parked_keys where grp = _group and key = _key for no key update;
  if not found then
    return 0;
  end if;
  select * into head from parked p where p.grp = _group and p.key = _key order by p.number limit 1;
  if found then
    perform bury_of_group(_group, head.message, head.message_id, 9::smallint, k.attempts, k.history, 'skipped');
    delete from parked where grp = _group and key = _key and number = head.number;
  end if;
  if not free_key(_group, _key) then
    update parked_keys set attempts = 0, history = '[]', due_at = clock_timestamp(), held = false where grp = _group and key = _key;
  end if;
  perform note_act(_by, 'skip', (select q.name from queues q join stream_groups g on g.queue = q.id where g.id = _group),
                   jsonb_build_object('group', (select name from stream_groups where id = _group), 'key', _key, 'messageId', head.message_id));
  return 1;
end $$;
