-- Limits hold over all processes. A transaction that claims holds a place as an advisory lock, so that a process that dies lets go
-- of it at once; a leased delivery holds one as a row of slots, for as long as its lease lives. Whoever takes a place first locks
-- it and then looks, in a later snapshot, whether a lease has it; and a lease that takes one keeps the lock until it is committed.

create or replace function slot_lock(_queue integer, _key text, _n integer) returns bigint
language sql stable set search_path from current
as $$ select hashtextextended(current_schema() || ':slot:' || _queue || ':' || _n || ':' || _key, 0) $$;

-- The places that leases hold.
create or replace function leased_slots(_queue integer, _key text) returns setof integer
language sql volatile set search_path from current set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
  select s.n
  from slots s
  join leases l on l.id = s.lease
  where s.queue = _queue and s.key = _key and l.expires_at > clock_timestamp()
    and not exists (select from settled d where d.lease = s.lease and d.position = s.position)
$$;

-- Takes up to `_wanted` places of a queue, or of a key of it, for the transaction. Fewer, or none: others have them.
create or replace function take_slots(_queue integer, _key text, _most integer, _wanted integer) returns integer[]
language plpgsql set search_path from current
as $$
declare
  taken integer[] := '{}';
  leased integer[] := array(select leased_slots(_queue, _key));
  first integer := floor(random() * _most);
  n integer;
begin
  for i in 0 .. _most - 1 loop
    exit when cardinality(taken) >= _wanted;
    n := 1 + (first + i) % _most;
    if n <> all (leased) and pg_try_advisory_xact_lock(slot_lock(_queue, _key, n))
      and not exists (select from leased_slots(_queue, _key) l where l = n)
    then
      taken := taken || n;
    end if;
  end loop;
  return taken;
end $$;

-- What a queue with a rate limit may hand out now, and when there will be more. It is spent with the transaction; `at` is what
-- unspent is given back by.
create or replace function take_tokens(_queue integer, _wanted integer, out granted integer, out at timestamptz, out wait_ms double precision)
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  rate jsonb := (select q.flow -> 'rateLimit' from queues q where q.id = _queue);
  span interval := (rate ->> 'perMs')::double precision * interval '1 ms';
begin
  granted := _wanted;
  if rate is null then
    return;
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended(current_schema() || ':rate:' || _queue, 0)) then
    granted := 0;
    wait_ms := 5 + random() * 10;
    return;
  end if;
  at := clock_timestamp();
  granted := least(_wanted, (rate ->> 'messages')::integer - (
    select coalesce(sum(s.n), 0) from spent s where s.queue = _queue and s.at > take_tokens.at - span));
  if granted > 0 then
    insert into spent (queue, at, n) values (_queue, take_tokens.at, granted);
  else
    granted := 0;
    wait_ms := greatest(1, extract(epoch from span - (take_tokens.at - (
      select min(s.at) from spent s where s.queue = _queue and s.at > take_tokens.at - span))) * 1000);
  end if;
  if random() < 0.01 then
    delete from spent s where s.queue = _queue and s.at < take_tokens.at - span;
  end if;
end $$;

create or replace function give_tokens(_queue integer, _at timestamptz, _n integer) returns void
language sql set search_path from current
as $$ insert into spent (queue, at, n) select _queue, _at, -_n where _at is not null and _n > 0 $$;

-- Which lines are next, and how many of each: one after the other from where this session left off, or from a random spot, so that
-- every line has its turn, however long the others are. A line of weight w has w deliveries to the others' one. Lines whose places
-- are all taken are passed over. `_each`: a place for every delivery, not one for the line.
create or replace function next_lines(
  _queue integer, _limit integer, _flow jsonb, _each boolean, out keys text[], out counts integer[], out blocked boolean
)
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
declare
  most_passed constant integer := 200;
  per_key integer := _flow ->> 'maxConcurrencyPerKey';
  weights jsonb := case when jsonb_typeof(_flow -> 'fair') = 'object' then _flow -> 'fair' -> 'weights' end;
  cursor_name text := 'posthaste.line_' || _queue;
  began integer := coalesce(nullif(current_setting(cursor_name, true), '')::integer, floor(random() * 4294967295 - 2147483648)::integer);
  at_spot integer := began;
  at_key text := null;
  line record;
  around boolean := false;
  taken integer[];
  weight integer;
  passed integer := 0;
  left_over integer := _limit;
  rounds integer;
begin
  keys := '{}'; counts := '{}'; blocked := false;
  while cardinality(keys) < _limit and passed < most_passed loop
    if at_key is null then
      select l.spot, l.key into line from lines l where l.queue = _queue and l.spot >= at_spot order by l.spot, l.key limit 1;
    else
      select l.spot, l.key into line from lines l where l.queue = _queue and (l.spot, l.key) > (at_spot, at_key)
      order by l.spot, l.key limit 1;
    end if;
    if not found then
      exit when around;
      around := true;
      at_spot := -2147483648;
      at_key := null;
      continue;
    end if;
    exit when around and line.spot >= began;
    at_spot := line.spot;
    at_key := line.key;
    passed := passed + 1;
    taken := null;
    if per_key is not null and at_key <> '' then
      taken := take_slots(_queue, at_key, per_key, case when _each then least(per_key, _limit) else 1 end);
      if taken = '{}' then
        blocked := true;
        continue;
      end if;
    end if;
    keys := keys || at_key;
    weight := greatest(1, coalesce((weights ->> at_key)::integer, 1));
    counts := counts || case when _each then least(weight, coalesce(cardinality(taken), weight)) else weight end;
  end loop;
  if at_key is not null then
    perform set_config(cursor_name, (case when at_spot = 2147483647 then -2147483648 else at_spot + 1 end)::text, false);
  end if;

  -- what is left is shared in more rounds of the same weights, and none gets more than it has places for
  rounds := ceil(_limit::double precision / greatest(1, (select coalesce(sum(c), 0) from unnest(counts) c)));
  for i in 1 .. cardinality(keys) loop
    counts[i] := least(left_over, case when _each and per_key is not null and keys[i] <> '' then counts[i] else counts[i] * rounds end);
    left_over := left_over - counts[i];
  end loop;
end $$;

-- Takes rows of ready out of the next lines. `sound`: those that came back from a claim that did not commit are passed over.
create or replace function take_from_lines(
  _queue integer, _keys text[], _counts integer[], _sound boolean, out taken ready[], out stood lines[]
)
language plpgsql set search_path from current
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off set jit = off
as $$
begin
  with found as materialized (
    select x.row, x.line
    from unnest(_keys, _counts) k (key, n)
    cross join lateral (
      select r.row, l.line
      from (
        -- from the line to what is ready, whatever the statistics say: the other way goes by all of the queue
        select ctid as line, priority, position from lines
        where queue = _queue and spot = hashtext(k.key) and key = k.key
        order by priority, position
        offset 0
      ) l
      cross join lateral (
        select ctid as row from ready
        where queue = _queue and priority = l.priority and position = l.position
          and (not _sound or xmax = '0'::xid and crashes = 0)
        for update skip locked
      ) r
      order by l.priority, l.position
      limit k.n
    ) x
  ),
  gone as (
    delete from ready where ctid = any (array(select row from found)) returning ready as row
  ),
  left_lines as (
    delete from lines where ctid = any (array(select line from found)) returning lines as line
  )
  select (select array_agg(gone.row order by (gone.row).priority, (gone.row).position) from gone), (select array_agg(line) from left_lines)
  into taken, stood;
  if taken is null then
    -- at the heads of the lines: one may be as long as the backlog, and all of it sound
    delete from lines
    where ctid = any (array(
      select l.row
      from unnest(_keys) k (key)
      cross join lateral (
        select ctid as row, priority, position from lines
        where queue = _queue and spot = hashtext(k.key) and key = k.key
        order by priority, position
        limit 100
      ) l
      where not exists (select from ready r where r.queue = _queue and r.priority = l.priority and r.position = l.position)));
  end if;
end $$;

-- What was put back into its place stands in its line again.
create or replace function stand_again(_stood lines[]) returns void
language sql set search_path from current set enable_seqscan = off
as $$
  insert into lines (queue, key, priority, position, bytes)
  select s.queue, s.key, s.priority, s.position, s.bytes
  from unnest(_stood) s
  cross join lateral (
    select from ready where queue = s.queue and priority = s.priority and position = s.position offset 0
  ) r
  on conflict do nothing
$$;

-- The claim of a queue with limits or lines. A row without a delivery says that others have all there is to have, and when to ask
-- again. `_alone`: one that is charged with a crash.
create or replace function claim_flowing(_queue integer, _consumer text, _limit integer, _floors bigint[], _alone boolean)
returns table (wait_ms double precision, delivery claimed)
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  again_ms constant double precision := 50;
  flow jsonb := (select q.flow from queues q where q.id = _queue);
  most integer := flow ->> 'maxConcurrency';
  n record;
  rows record;
begin
  if most is not null and take_slots(_queue, '', most, 1) = '{}' then
    return query select again_ms, null::claimed;
  elsif _alone then
    return query select null::double precision, d from claim_alone_flowing(_queue, _consumer, flow) d;
  elsif flow ?| '{fair,maxConcurrencyPerKey}' then
    n := next_lines(_queue, _limit, flow, false);
    rows := take_from_lines(_queue, n.keys, n.counts, true);
    if rows.taken is not null then
      return query select null::double precision, d from take(_consumer, rows.taken) d;
      perform stand_again(rows.stood);
    elsif n.blocked then
      return query select again_ms, null::claimed;
    end if;
  else
    return query select null::double precision, d from claim(_queue, _consumer, _limit, _floors) d;
  end if;
end $$;

create or replace function claim_alone_flowing(_queue integer, _consumer text, _flow jsonb) returns setof claimed
language plpgsql set search_path from current set enable_seqscan = off set enable_sort = off
as $$
declare
  per_key integer := _flow ->> 'maxConcurrencyPerKey';
  candidate ready;
  message_key text;
  taken ready[];
begin
  if per_key is null then
    return query select * from claim_alone(_queue, _consumer);
    return;
  end if;
  for candidate in
    select * from ready where queue = _queue and crashes > 0 and xmax = '0'::xid order by priority, position limit 20
  loop
    message_key := (select m.key from messages_by_id(array[candidate.message]) m);
    continue when message_key is not null and take_slots(_queue, message_key, per_key, 1) = '{}';
    with found as materialized (
      select ctid as row from ready
      where queue = _queue and priority = candidate.priority and position = candidate.position and xmax = '0'::xid
      for update skip locked
    ),
    gone as (
      delete from ready where ctid = any (array(select row from found)) returning ready as row
    )
    select array_agg(gone.row) into taken from gone;
    if taken is not null then
      return query select * from take(_consumer, taken);
      return;
    end if;
  end loop;
end $$;

-- What a lease of a queue with limits or lines may have: the rows, gone from ready, and the places each of them holds.
create or replace function pick_to_lease(
  _queue integer, _limit integer, _floors bigint[], _flow jsonb,
  out taken ready[], out stood lines[], out places integer[], out wait_ms double precision, out spent_at timestamptz
)
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  again_ms constant double precision := 50;
  most integer := _flow ->> 'maxConcurrency';
  tokens record;
  wanted integer;
  n record;
  rows record;
  locked tid[];
begin
  tokens := take_tokens(_queue, _limit);
  wanted := tokens.granted;
  spent_at := tokens.at;
  if wanted = 0 then
    wait_ms := tokens.wait_ms;
    return;
  end if;
  if most is not null then
    places := take_slots(_queue, '', most, wanted);
    wanted := cardinality(places);
  end if;
  if wanted = 0 then
    wait_ms := again_ms;
  elsif _flow ?| '{fair,maxConcurrencyPerKey}' then
    n := next_lines(_queue, wanted, _flow, true);
    rows := take_from_lines(_queue, n.keys, n.counts, false);
    taken := rows.taken;
    stood := rows.stood;
    if taken is null and n.blocked then
      wait_ms := again_ms;
    end if;
  else
    locked := lock_to_lease(_queue, wanted, _floors);
    with gone as (
      delete from ready where ctid = any (locked) returning ready as row
    )
    select array_agg(gone.row order by (gone.row).priority, (gone.row).position) into taken from gone;
  end if;
  perform give_tokens(_queue, spent_at, tokens.granted - coalesce(cardinality(taken), 0));
end $$;

-- Notes which places leased deliveries hold: the i-th of the queue, and a free one of its key, whose lock is held already.
create or replace function hold_places(_lease bigint, _taken ready[], _stood lines[], _places integer[], _flow jsonb) returns void
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  queue_of constant integer := _taken[1].queue;
  per_key integer := _flow ->> 'maxConcurrencyPerKey';
  line record;
begin
  if _places is not null then
    insert into slots (queue, key, n, lease, position)
    select queue_of, '', p.n, _lease, t.position
    from unnest(_taken) with ordinality t (queue, priority, position, message, message_id, attempts, crashes, history, i)
    join unnest(_places) with ordinality p (n, i) on p.i = t.i
    on conflict (queue, key, n) do update set lease = excluded.lease, position = excluded.position;
  end if;
  if per_key is not null then
    for line in
      select s.key, array_agg(s.position order by s.position) as positions
      from unnest(_stood) s
      join unnest(_taken) t on t.position = s.position
      where s.key <> ''
      group by s.key
    loop
      with free as materialized (
        select f.n, row_number() over (order by f.n) as i
        from unnest(take_slots(queue_of, line.key, per_key, cardinality(line.positions))) f (n)
      )
      insert into slots (queue, key, n, lease, position)
      select queue_of, line.key, free.n, _lease, line.positions[free.i] from free
      on conflict (queue, key, n) do update set lease = excluded.lease, position = excluded.position;
    end loop;
  end if;
  if random() < 0.01 then
    delete from slots s where s.queue = queue_of and not exists (select from leases l where l.id = s.lease);
  end if;
end $$;

-- Deliveries at the heads of the lines that came back from a claim that did not commit; as `suspects`, which looks below floors.
create or replace function suspects_in_lines(_queue integer, _limit integer)
returns table (priority smallint, "position" bigint, message_id uuid, crashes integer)
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  keys text[];
begin
  with recursive walk as (
    (select spot, key from lines where queue = _queue order by spot, key limit 1)
    union all
    select n.spot, n.key
    from walk w
    cross join lateral (
      select l.spot, l.key from lines l where l.queue = _queue and (l.spot, l.key) > (w.spot, w.key) order by l.spot, l.key limit 1
    ) n
  )
  select coalesce(array_agg(key), '{}') into keys from (select key from walk limit 10000) w;
  return query
  select r.priority, r.position, r.message_id, r.crashes
  from unnest(keys) k (key)
  cross join lateral (
    select l.priority, l.position
    from lines l
    where l.queue = _queue and l.spot = hashtext(k.key) and l.key = k.key
    order by l.priority, l.position
    limit greatest(20, 2000 / greatest(1, cardinality(keys)))
  ) h
  cross join lateral (
    select priority, position, message_id, crashes
    from ready
    where queue = _queue and priority = h.priority and position = h.position and xmax <> '0'::xid
    for update skip locked
  ) r
  limit _limit;
end $$;
