-- A fact of an attempt without the words of its error, which may quote the payload.
create or replace function without_words(_fact jsonb) returns jsonb
language sql immutable
as $$ select case when _fact ? 'message' then _fact || '{"message": "erased"}' else _fact end $$;

create or replace function history_without_words(_history jsonb) returns jsonb
language sql immutable set search_path from current
as $$
  select case when jsonb_typeof(_history) = 'array'
    then (select coalesce(jsonb_agg(without_words(e.fact) order by e.n), '[]') from jsonb_array_elements(_history) with ordinality e (fact, n))
    else _history
  end
$$;

-- The message, and the copies of it that the dead letter routes of queues have published, and theirs.
create or replace function copies_of(_id uuid) returns uuid[]
language plpgsql set search_path from current
as $$
declare
  ids uuid[] := array[_id];
  look integer := 1;
begin
  while look <= cardinality(ids) loop
    ids := ids || array(
      select distinct c.message_id
      from (
        select o.message_id
        from caused_by(ids[look], null, 2000000, 1000) b
        join outbox o on o.id = find_message(b.message_id)
        where b.causation_id = ids[look]::text and o.headers::jsonb ? 'dead-letter-id'
        union
        select d.message_id from dead_letters d where d.causation_id = ids[look]::text and d.headers::jsonb ? 'dead-letter-id'
      ) c
      where c.message_id <> all (ids));
    look := look + 1;
  end loop;
  return ids;
end $$;

-- Takes the payload of a message away wherever it stands: in the log, in held, in dead letters, in what errors say of it, and in
-- the copies that dead letter routes have published. The rows stay, so ids, places and the account are what they were; a delivery
-- that is still to be attempted becomes a dead letter, `erased`. `was_there` says whether anything was known of it. Under the upkeep
-- turn, so that nothing is copied to held or redriven meanwhile.
create or replace function erase_message(_id uuid, _by text, _note boolean, out was_there boolean, out copies uuid[], out xid xid8)
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
declare
  ids uuid[];
  positions bigint[];
begin
  perform from turns where name = 'upkeep' for update;
  xid := pg_current_xact_id();
  ids := copies_of(_id);
  copies := array(select i from unnest(ids) with ordinality u (i, n) where n > 1 order by n);
  positions := array(
    select find_message(i) from unnest(ids) i
    union select message from ready where message_id = any (ids)
    union select message from scheduled where message_id = any (ids)
    union select message from dead_letters where message_id = any (ids)
    union select (d ->> 'message')::bigint from leases l cross join jsonb_array_elements(l.deliveries) d where d ->> 'message_id' = any (ids::text[]));
  positions := array(select p from unnest(positions) p where p is not null);
  was_there := cardinality(positions) > 0;

  update outbox o set payload = null, body = null, content_type = null where o.id = any (positions) and o.message_id = any (ids);
  update held h set payload = null, body = null, content_type = null where h.message_id = any (ids);
  update dead_letters d set payload = null, body = null, content_type = null, history = history_without_words(d.history)
  where d.message_id = any (ids);
  update attempts a set fact = without_words(a.fact) where a.message_id = any (ids);
  update dedupe d set fingerprint = null where d.message_id = any (ids) and d.fingerprint is not null;
  update scheduled s set history = history_without_words(s.history) where s.message_id = any (ids) and s.history is not null;
  update leases l set deliveries = (
    select jsonb_agg(case when d.row ->> 'message_id' = any (ids::text[])
                     then jsonb_set(d.row, '{history}', coalesce(history_without_words(d.row -> 'history'), 'null')) else d.row end order by d.n)
    from jsonb_array_elements(l.deliveries) with ordinality d (row, n))
  where exists (select from jsonb_array_elements(l.deliveries) d where d ->> 'message_id' = any (ids::text[]));
  update parked_keys k set history = history_without_words(k.history)
  where exists (select from parked p where p.grp = k.grp and p.key = k.key and p.message_id = any (ids));
  -- last: an update that is rolled back makes a row of ready suspect
  update ready r set history = history_without_words(r.history) where r.message_id = any (ids) and r.history is not null;

  if _note and was_there then
    perform note_act(_by, 'erase', null, jsonb_strip_nulls(jsonb_build_object('messageId', _id, 'copies', nullif(to_jsonb(copies), '[]'))));
  end if;
end $$;

-- For every language. False: nothing is known of a message of this id.
create or replace function erase(message_id uuid, by text default null) returns boolean
language sql set search_path from current
as $$ select e.was_there from erase_message(message_id, by, true) e $$;

-- Whether every transaction that was open when another one wrote has ended.
create or replace function is_past(_xid xid8) returns boolean
language sql stable
as $$ select pg_snapshot_xmin(pg_current_snapshot()) > _xid $$;
