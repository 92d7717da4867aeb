-- A message of a call that has a dedupe key: its place in the call, and what it is compared by.
do $$
begin
  if to_regtype('keyed') is null then
    create type keyed as (n integer, type text, key text, window_ms double precision, prints text[]);
  end if;
end $$;

-- What a message is compared by when its dedupe key comes again: where it goes and what it says, however its JSON is written.
create or replace function fingerprint_of(_exchange text, _routing_key text, _content text) returns text
language sql immutable
as $$ select encode(sha256(convert_to(jsonb_build_array(_exchange, _routing_key, _content)::text, 'UTF8')), 'hex') $$;

-- The fingerprints a message may be known by: the first is kept. A publisher that encrypts says what to compare, once for each
-- key it knows, as the text is another one each time.
create or replace function fingerprints_of(
  _exchange text, _routing_key text, _payload json, _body text, _content_type text, _given text[]
) returns text[]
language plpgsql immutable set search_path from current
as $$
declare
  content text := coalesce(_content_type || ' ' || _body, _payload::text);
begin
  if _given is null and _payload is not null then
    begin
      content := _payload::jsonb::text;
    exception when others then
      null; -- a number beyond jsonb: compared as it is written
    end;
  end if;
  return array(
    select fingerprint_of(coalesce(_exchange, ''), coalesce(_routing_key, ''), c) from unnest(coalesce(_given, array[content])) c);
end $$;

-- Remembers keys, in the order of the keys. `standing` is what stands under each afterwards: the row that was wanted, or that of
-- the message that came first; `mine` are those that this call has put there, whoever else wanted the same at the same moment.
-- One whose time is over is as good as none. A concurrent publisher of the same key is waited for, at most five seconds.
create or replace function remember_keys(_wanted dedupe[], out standing dedupe[], out mine dedupe[])
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '5s'
as $$
declare
  wanted dedupe;
  renewed dedupe;
begin
  mine := '{}';
  loop
    with put as (
      insert into dedupe
      select w.* from unnest(_wanted) w order by w.scope, w.key
      on conflict do nothing
      returning dedupe as row
    )
    select mine || coalesce(array_agg(put.row), '{}') into mine from put;

    if cardinality(mine) < cardinality(_wanted) then
      foreach wanted in array array(select w from unnest(_wanted) w order by w.scope, w.key) loop
        update dedupe d set message_id = wanted.message_id, fingerprint = wanted.fingerprint, until = wanted.until
        where d.scope = wanted.scope and d.key = wanted.key and d.until <= clock_timestamp()
        returning d.* into renewed;
        if found then
          mine := mine || renewed;
        end if;
      end loop;
    end if;

    -- from the key to what stands there, whatever the statistics say: the other way goes by all keys
    select array_agg(d.row order by w.scope, w.key) into standing
    from unnest(_wanted) w
    cross join lateral (select d as row from dedupe d where d.scope = w.scope and d.key = w.key offset 0) d;
    -- upkeep forgets what is over, also between two statements
    exit when cardinality(standing) = cardinality(_wanted);
  end loop;
exception when lock_not_available then
  raise exception 'Cannot publish "%": another transaction has held its dedupe key for five seconds',
    substr((_wanted[1]).scope, 6) using errcode = 'PH031';
end $$;

-- The ids that messages answer to, by their places: of one whose dedupe key stands for another, that of the one that came first; null for
-- all others. Nothing is to be added when one is not what its key stands for.
create or replace function firsts_by_key(_messages json, _ids uuid[], _max_bytes integer, _exchanges text[]) returns uuid[]
language plpgsql set search_path from current
as $$
#variable_conflict use_column
declare
  problem record;
  given keyed[];
  firsts keyed[];
  wanted dedupe[];
  standing dedupe[];
  mine dedupe[];
begin
  select x.type, p.reason into problem
  from json_to_recordset(_messages) x (type text, dedupe_key text, dedupe_window_ms double precision)
  cross join lateral (
    select case
      when x.dedupe_key = '' then 'dedupe_key is empty'
      when octet_length(x.dedupe_key) > 1024 then 'dedupe_key has more than 1024 bytes'
      when x.dedupe_window_ms is not null and x.dedupe_key is null then 'dedupe_window_ms is set, and there is no dedupe_key'
      when not (x.dedupe_window_ms >= 1 and x.dedupe_window_ms <= 315360000000) then 'dedupe_window_ms is not within 1 and ten years'
    end as reason
  ) p
  where p.reason is not null
  limit 1;
  if found then
    perform refuse_message(problem.type, problem.reason);
  end if;

  select array_agg(row(x.n, x.type, x.dedupe_key, x.dedupe_window_ms,
           fingerprints_of(x.exchange, x.routing_key, x.payload, x.body, x.content_type, x.fingerprints))::keyed order by x.n) into given
  from rows from (json_to_recordset(_messages) as (
    exchange text, routing_key text, type text, payload json, body text, content_type text, dedupe_key text,
    dedupe_window_ms double precision, fingerprints text[])) with ordinality
    x (exchange, routing_key, type, payload, body, content_type, dedupe_key, dedupe_window_ms, fingerprints, n)
  where x.dedupe_key is not null
    and checked(x.exchange, x.routing_key, x.type, null, null, null, null, null, null, null, null, null, x.payload, x.body, x.content_type,
                _max_bytes, _exchanges);

  select array_agg(f), array_agg(row('type:' || f.type, f.key, _ids[f.n], f.prints[1],
                                     clock_timestamp() + coalesce(f.window_ms, 604800000) * interval '1 ms')::dedupe)
  into firsts, wanted
  from (select distinct on ('type:' || g.type, g.key) g.* from unnest(given) g order by 'type:' || g.type, g.key, g.n) f;
  if wanted is not null then
    select r.standing, r.mine into standing, mine from remember_keys(wanted) r;
  end if;

  select g.type into problem
  from unnest(given) g
  join unnest(standing) s on s.scope = 'type:' || g.type and s.key = g.key
  where s.fingerprint <> all (g.prints)
  limit 1;
  if found then
    raise exception 'Cannot publish "%": another message was published with its dedupe key', problem.type using errcode = 'PH030';
  end if;

  return array(
    select s.message_id
    from generate_subscripts(_ids, 1) i (n)
    left join unnest(given) g on g.n = i.n
    left join unnest(standing) s on s.scope = 'type:' || g.type and s.key = g.key
      and not exists (select from unnest(firsts) f where f.n = i.n and s = any (mine))
    order by i.n);
end $$;
