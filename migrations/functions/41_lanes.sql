-- Lanes, their positions, and who works on them. A set of lanes is a bigint with a bit for each.

-- Where the lanes of a group are, or were before the position of a number: a row for each position that some are at. Read from the end
-- until every lane was met.
create or replace function group_positions(_group integer, _before bigint default 9223372036854775807)
returns table (number bigint, lanes bigint, base bigint, tick bigint, id bigint, replay integer, at timestamptz)
language plpgsql set search_path from current set enable_seqscan = off set enable_sort = off set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  met bigint := 0;
  p lane_positions;
begin
  for p in select * from lane_positions where grp = _group and number < _before order by number desc loop
    if p.lanes & ~met <> 0 then
      return query select p.number, p.lanes & ~met, p.base, p.tick, p.id, p.replay, p.at;
      met := met | p.lanes;
    end if;
    exit when met = -1;
  end loop;
end $$;

-- The snapshots below which groups have read everything, those aside that are cut off from what they have not: the ticks by number,
-- and the floors below which all is done.
create or replace function groups_read_to() returns table (tick bigint, floor_id bigint)
language sql stable set search_path from current
as $$
  select distinct t.number, t.floor_id
  from stream_groups g
  join queues q on q.id = g.queue and coalesce(q.stream ->> 'onLag', 'hold') = 'hold'
  cross join lateral group_positions(g.id) p
  cross join lateral tick_of(case when p.id = 9223372036854775807 then p.tick else p.base end) t
$$;

-- The ticks that a position names, some for those who start at a time, and the first of each cluster.
create or replace function needed_ticks() returns setof bigint
language sql stable set search_path from current
as $$
  select p.base from lane_positions p
  union select p.tick from lane_positions p
  union select r.tick from replays r
  union select min(t.number) from ticks t group by t.floor_id
  union select t.number from ticks t
  where t.number % 1000 = 0 and exists (select from stream_groups)
    and t.top_id >= (select min(p.from_id) from partitions p where p.emptied_at is null)
$$;

-- Forgets the positions that every one of their lanes has left, but for those that lanes return to after a replay.
create or replace function trim_lane_positions() returns void
language plpgsql set search_path from current
as $$
declare
  g record;
begin
  for g in select id, (select min(r.number) from replays r where r.grp = s.id) as from_number from stream_groups s loop
    delete from lane_positions p
    where p.grp = g.id and p.number < coalesce(g.from_number, p.number + 1) and p.number < (select max(number) from lane_positions where grp = g.id)
      and p.number not in (select number from group_positions(g.id))
      and p.number not in (select b.number from group_positions(g.id, g.from_number) b where g.from_number is not null);
  end loop;
end $$;

-- The processes whose sessions have joined a group, by the numbers of their server processes. The lock table knows at once who died.
create or replace function members_of(_group integer) returns integer[]
language sql stable set search_path from current
as $$
  select coalesce(array_agg(distinct l.pid order by l.pid), '{}')
  from pg_locks l
  where l.locktype = 'advisory' and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
    and l.classid::bigint = lock_class()
    and l.objid::bigint = lock_object('group:' || _group)::bigint & 4294967295
$$;

create or replace function join_group(_group integer) returns integer
language plpgsql set search_path from current
as $$
begin
  perform pg_advisory_lock_shared(lock_class(), lock_object('group:' || _group));
  return pg_backend_pid();
end $$;

create or replace function leave_group(_group integer) returns boolean
language sql set search_path from current
as $$ select pg_advisory_unlock_shared(lock_class(), lock_object('group:' || _group)) $$;

-- Makes a group with its lanes, all at one position; one that is there stays where it is.
create or replace function make_group(
  _queue integer, _name text, _base bigint, _tick bigint, _id bigint, _since timestamptz, out grp integer, out made boolean
)
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
begin
  select g.id, false into grp, made from stream_groups g where g.queue = _queue and g.name = _name;
  if found then
    return;
  end if;
  insert into stream_groups (queue, name, since) values (_queue, _name, _since) on conflict do nothing returning id, true into grp, made;
  if grp is null then
    select g.id, false into grp, made from stream_groups g where g.queue = _queue and g.name = _name;
    return;
  end if;
  insert into lane_positions (grp, lanes, base, tick, id) values (make_group.grp, -1, _base, _tick, _id);
end $$;

-- The lanes that leases of others, who live, keep.
create or replace function leased_lanes(_group integer, _but bigint) returns bigint
language sql stable set search_path from current
as $$
  select coalesce(bit_or(lanes), 0)
  from lane_leases l
  where l.grp = _group and l.id is distinct from _but and l.expires_at > clock_timestamp()
    and (l.session is null or l.session = any (members_of(_group)))
$$;

-- The lanes that stand still behind a message that failed.
create or replace function closed_lanes(_group integer) returns bigint
language sql stable set search_path from current set enable_seqscan = off
as $$ select coalesce(bit_or(1::bigint << lane), 0) from parked_keys where grp = _group and scope = 'lane' $$;

-- Locks lanes until the caller's transaction ends; which of them it got. Patiently: all, however long that takes.
--
-- The locks are a tree: node 1 is of all 64 lanes, nodes 2n and 2n + 1 are of the halves of node n, node 64 + n is of lane n alone. Whoever
-- has lanes holds a node of nothing but them alone, and the nodes above that together with others, so nobody else has one of
-- them; lanes that lie side by side are a few locks. They are the server's own, in memory: a row that is locked is written, to the
-- WAL as well. Nodes are locked in the order of their numbers, so nobody waits in a circle.
create or replace function lock_lanes(_group integer, _lanes bigint, _patiently boolean) returns bigint
language plpgsql set search_path from current
as $$
declare
  base constant bigint := (lock_object('lanes')::bigint << 32) | (_group::bigint * 128 & 4294967295);
  nodes integer[] := '{1}';
  node integer;
  width integer;
  mine bigint;
  got bigint := 0;
begin
  while cardinality(nodes) > 0 loop
    node := nodes[1];
    nodes := nodes[2:];
    width := case when node >= 64 then 1 when node >= 32 then 2 when node >= 16 then 4 when node >= 8 then 8 when node >= 4 then 16
                  when node >= 2 then 32 else 64 end;
    mine := case width when 64 then -1 else ((1::bigint << width) - 1) << (node * width & 63) end;
    continue when _lanes & mine = 0;
    if _lanes & mine = mine then
      if _patiently then
        perform pg_advisory_xact_lock(base + node);
      end if;
      if _patiently or pg_try_advisory_xact_lock(base + node) then
        got := got | mine;
        continue;
      end if;
      continue when width = 1;
    end if;
    if _patiently then
      perform pg_advisory_xact_lock_shared(base + node);
    elsif not pg_try_advisory_xact_lock_shared(base + node) then
      continue;
    end if;
    nodes := nodes || array[2 * node, 2 * node + 1];
  end loop;
  return got;
end $$;

-- Takes lanes for the caller's transaction: those that nobody holds and that are where the caller believes, at the positions up to
-- `_number`. `parks`: the group has something put aside, and hold_parked says for which keys.
create or replace function hold_lanes(_group integer, _lanes bigint, _number bigint, out held bigint, out parks boolean, out paused boolean)
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  leased boolean;
begin
  held := lock_lanes(_group, _lanes, false);
  -- with a later snapshot than that of the locks
  select held & ~(select coalesce(bit_or(p.lanes), 0) from lane_positions p where p.grp = _group and p.number > _number),
         coalesce(g.paused_until > clock_timestamp(), false),
         exists (select from lane_leases l where l.grp = _group),
         exists (select from parked_keys k where k.grp = _group)
  into held, paused, leased, parks
  from stream_groups g
  where g.id = _group;
  held := coalesce(held, 0);
  if leased then
    held := held & ~leased_lanes(_group, null);
  end if;
  if parks then
    held := held & ~closed_lanes(_group);
  end if;
end $$;

-- Those of the keys, of lanes that the caller's transaction holds, that have something parked: what comes for them has to wait there. Held
-- FOR KEY SHARE they stay parked until the transaction has ended, so nothing is put behind a key that is free.
create or replace function hold_parked(_group integer, _keys text[]) returns text[]
language sql set search_path from current set enable_seqscan = off
as $$
  select array(select k.key from parked_keys k where k.grp = _group and k.key = any (_keys) and k.scope = 'key' order by k.key for key share)
$$;

-- Those of the keys that have something parked, held or not.
create or replace function parked_among(_group integer, _keys text[]) returns setof text
language sql stable set search_path from current set enable_seqscan = off
as $$ select k.key from parked_keys k where k.grp = _group and k.key = any (_keys) and k.scope = 'key' $$;

-- Whether the ticks that lanes are to be at are there, and stay until the caller's transaction ends. Upkeep leaves those of the last ten
-- minutes to readers, who have them in hand before a position names them; what was held for longer, behind a handler or through a pause,
-- may be of one that is forgotten. What is near, or named by where the lanes are now, is safe; of the rest upkeep is kept away.
create or replace function ticks_stay(_group integer, _lanes bigint, _base bigint, _tick bigint) returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  young constant timestamptz := clock_timestamp() - interval '5 minutes';
  doubtful bigint[];
begin
  if exists (select from ticks t where t.number = _tick and t.at > young)
      and (_base = _tick or exists (select from ticks t where t.number = _base and t.at > young)) then
    return true;
  end if;
  doubtful := array(
    select n from unnest(array[_base, _tick]) n
    where n <> 0 and n < (select r.tick - 1 from position_of('router') r)
      and not exists (select from group_positions(_group) p where p.lanes & _lanes <> 0 and n in (p.base, p.tick)));
  if doubtful = '{}' then
    return true;
  end if;
  perform from turns where name = 'upkeep' for key share;
  -- with a later snapshot than that of the lock
  return not exists (select from unnest(doubtful) n where not exists (select from ticks t where t.number = n));
end $$;

-- Appends the position of lanes that the caller's transaction holds, or refuses to (PH014), and what it stands for is to be read
-- again. At the end of a replay they return to where they were. The answer is the number of the position, or 0 when the lanes are
-- somewhere else now.
create or replace function move_lanes(_group integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _replay integer) returns bigint
language plpgsql set search_path from current
as $$
declare
  r replays;
  n bigint;
begin
  if _replay is not null then
    select * into r from replays where id = _replay;
    if r.id is null or _tick > r.tick or _tick = r.tick and _id >= r.last_id then
      insert into lane_positions (grp, lanes, base, tick, id)
      select _group, b.lanes & _lanes, b.base, b.tick, b.id
      from group_positions(_group, r.number) b
      where b.lanes & _lanes <> 0;
      return 0;
    end if;
  end if;
  if not ticks_stay(_group, _lanes, _base, _tick) then
    raise exception 'Cannot move lanes: what is done was read more than ten minutes ago, up to a tick that is forgotten' using errcode = 'PH014';
  end if;
  insert into lane_positions (grp, lanes, base, tick, id, replay) values (_group, _lanes, _base, _tick, _id, _replay) returning number into n;
  return n;
end $$;

-- Moves lanes on where nothing was for them: sets of lanes, each with the number of its position, to one position. What a crash
-- loses of it is read again.
create or replace function pass_lanes(
  _group integer, _lanes bigint[], _numbers bigint[], _base bigint, _tick bigint, _id bigint, _replay integer, out held bigint, out number bigint
)
language plpgsql set search_path from current
as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  held := 0;
  for n in 1..cardinality(_lanes) loop
    held := held | (select h.held from hold_lanes(_group, _lanes[n], _numbers[n]) h);
  end loop;
  if held <> 0 then
    number := move_lanes(_group, held, _base, _tick, _id, _replay);
  end if;
end $$;

-- Keeps a message of a group as a dead letter. It counts as routed too, so that the account of the stream is of what died.
create or replace function bury_of_group(_group integer, _message bigint, _message_id uuid, _priority smallint, _attempts integer, _history jsonb, _reason text)
returns void
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  g stream_groups;
begin
  select * into g from stream_groups where id = _group;
  perform bury(g.queue, _message, _message_id, _priority, _attempts, 0, dated(_history), _reason);
  update dead_letters set grp = g.name where id = (select max(id) from dead_letters where message_id = _message_id and queue = g.queue);
  perform count_queue(g.queue, 'routed', 1);
  perform count_queue(g.queue, 'dead', 1);
end $$;

-- Ends a piece of work on lanes that the caller's transaction holds: what failed is put aside, what waits behind it is put there
-- in its order, and the position is appended. `_parking` is a JSON array of objects with the keys
--   message, message_id, priority, and for what died: dead (the reason), attempts, history
--   for the head of what is put aside: key, lane, scope, attempts, history, delay_ms, held; for what waits behind one: key, lane
create or replace function settle_lanes(_group integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _replay integer, _parking text) returns bigint
language plpgsql set search_path from current
as $$
declare
  o record;
begin
  if _parking is not null then
    for o in
      select x.*
      from json_to_recordset(_parking::json) x (message bigint, message_id uuid, priority smallint, dead text, attempts integer, history jsonb,
                                                 key text, lane smallint, scope text, delay_ms double precision, held boolean)
    loop
      if o.dead is not null then
        perform bury_of_group(_group, o.message, o.message_id, o.priority, o.attempts, o.history, o.dead);
      else
        -- a key that is free again meanwhile is parked anew, and due
        insert into parked_keys (grp, key, lane, scope, attempts, history, due_at, held)
        values (_group, o.key, o.lane, coalesce(o.scope, 'key'), coalesce(o.attempts, 0), dated(coalesce(o.history, '[]')),
                clock_timestamp() + coalesce(o.delay_ms, 0) * interval '1 ms', coalesce(o.held, false))
        on conflict do nothing;
        insert into parked (grp, key, message, message_id) values (_group, o.key, o.message, o.message_id);
      end if;
    end loop;
  end if;
  return move_lanes(_group, _lanes, _base, _tick, _id, _replay);
end $$;

-- The same of messages that have left nothing in the transaction: what a crash of the server loses of it is handled again.
create or replace function note_lanes(_group integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _replay integer) returns bigint
language plpgsql set search_path from current
as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  return move_lanes(_group, _lanes, _base, _tick, _id, _replay);
end $$;

-- Takes lanes out of a transaction, for a time; no row when none is to be had.
create or replace function lease_lanes(_group integer, _lanes bigint, _lease_ms double precision, _holder text, _session integer)
returns table (lease bigint, token uuid, lanes bigint)
language plpgsql set search_path from current
as $$
#variable_conflict use_column
declare
  got bigint;
  granted lane_leases;
begin
  got := lock_lanes(_group, _lanes, false);
  got := got & ~leased_lanes(_group, null);
  if got <> 0 then
    delete from lane_leases where grp = _group and expires_at < clock_timestamp() - interval '1 minute';
    insert into lane_leases (grp, lanes, holder, session, expires_at)
    values (_group, got, _holder, _session, clock_timestamp() + _lease_ms * interval '1 ms')
    returning * into granted;
    return query select granted.id, granted.token, granted.lanes;
  end if;
end $$;

create or replace function renew_lanes(_lease bigint, _token uuid, _lease_ms double precision) returns boolean
language plpgsql set search_path from current
as $$
begin
  update lane_leases set expires_at = clock_timestamp() + _lease_ms * interval '1 ms'
  where id = _lease and token = _token and expires_at > clock_timestamp();
  return found;
end $$;

-- Gives lanes of a lease back.
create or replace function release_lanes(_lease bigint, _token uuid) returns boolean
language plpgsql set search_path from current
as $$
begin
  delete from lane_leases where id = _lease and token = _token;
  return found;
end $$;

-- Takes lanes of a lease for the caller's transaction, as hold_lanes does; a lease that lapsed holds nothing.
create or replace function hold_leased_lanes(
  _group integer, _lanes bigint, _number bigint, _keys text[], _lease bigint, _token uuid, out held bigint, out parked text[], out paused boolean
)
language plpgsql set search_path from current set enable_seqscan = off
as $$
begin
  held := 0;
  parked := '{}';
  perform lock_lanes(_group, _lanes, true);
  perform from lane_leases l where l.id = _lease and l.token = _token and l.expires_at > clock_timestamp() for key share;
  if not found then
    return;
  end if;
  held := _lanes;
  held := held & ~(select coalesce(bit_or(p.lanes), 0) from lane_positions p where p.grp = _group and p.number > _number);
  if exists (select from parked_keys k where k.grp = _group) then
    held := held & ~closed_lanes(_group);
    parked := hold_parked(_group, _keys);
  end if;
  paused := exists (select from stream_groups g where g.id = _group and g.paused_until > clock_timestamp());
end $$;

-- What a process looks at now and then, for all its groups at once. `stale`: lanes that somebody ought to have moved on long ago.
create or replace function look_at_groups(_groups integer[])
returns table (grp integer, members integer[], paused_ms double precision, closed bigint, stale bigint, due_ms double precision, newest bigint, moved bigint)
language sql volatile set search_path from current set enable_seqscan = off
as $$
  select g.id, members_of(g.id),
         case when g.paused_until = 'infinity' then 1e12
              when g.paused_until > clock_timestamp() then extract(epoch from g.paused_until - clock_timestamp()) * 1000 end,
         closed_lanes(g.id),
         coalesce((select bit_or(p.lanes) from group_positions(g.id) p
                   where p.at < clock_timestamp() - interval '10 seconds'
                     and exists (select from ticks t where t.number > p.tick and t.at < clock_timestamp() - interval '10 seconds')), 0),
         (select case when min(k.due_at) is not null then greatest(0, extract(epoch from min(k.due_at) - clock_timestamp()) * 1000) end
          from parked_keys k where k.grp = g.id and not k.held),
         (select number from newest_tick()), g.moved
  from stream_groups g
  where g.id = any (_groups)
$$;
