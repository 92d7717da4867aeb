-- What is done to groups by hand.

create or replace function pause_group(_group integer, _for_ms double precision, _reason text, _by text) returns void
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
begin
  update stream_groups
  set paused_until = coalesce(clock_timestamp() + _for_ms * interval '1 ms', 'infinity'), pause_reason = left(_reason, 500), paused_by = left(_by, 100)
  where id = _group;
  perform pg_notify(flow_channel(), '');
end $$;

-- False: it was not paused.
create or replace function resume_group(_group integer) returns boolean
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
declare
  was timestamptz := (select paused_until from stream_groups where id = _group);
begin
  update stream_groups set paused_until = null, pause_reason = null, paused_by = null where id = _group;
  perform pg_notify(flow_channel(), '');
  return coalesce(was > clock_timestamp(), false);
end $$;

-- Moves a group to a position, all of its lanes at once: whoever works on them now finds, before it commits, that they are
-- elsewhere. What is parked stays parked. Transactions of readers are waited for, ten seconds at most.
create or replace function seek_group(_group integer, _base bigint, _tick bigint, _id bigint, _since timestamptz, _by text, _facts jsonb) returns void
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
begin
  perform lock_lanes(_group, -1, true);
  delete from replays where grp = _group;
  update stream_groups set since = _since, moved = nextval('lane_position_number') where id = _group;
  insert into lane_positions (grp, number, lanes, base, tick, id) select id, moved, -1, _base, _tick, _id from stream_groups where id = _group;
  perform note_act(_by, 'seek', (select q.name from queues q join stream_groups g on g.queue = q.id where g.id = _group),
                   _facts || jsonb_build_object('group', (select name from stream_groups where id = _group)));
end $$;

-- Lets a group read a part of the log again, and then go on from where it is now. While it does, what is new waits.
create or replace function replay_group(
  _group integer, _base bigint, _tick bigint, _id bigint, _last_tick bigint, _last_id bigint, _since timestamptz, _before timestamptz, _by text, _facts jsonb
) returns integer
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
declare
  replay integer;
begin
  perform lock_lanes(_group, -1, true);
  if exists (select from group_positions(_group) p where p.replay is not null) then
    raise exception 'Cannot replay: the group is reading a part of the log again already' using errcode = 'PH013';
  end if;
  delete from replays where grp = _group;
  insert into replays (grp, tick, last_id, since, before, number, by)
  values (_group, _last_tick, _last_id, _since, _before, nextval('lane_position_number'), _by)
  returning id into replay;
  update stream_groups set moved = nextval('lane_position_number') where id = _group;
  insert into lane_positions (grp, number, lanes, base, tick, id, replay)
  select id, moved, -1, _base, _tick, _id, replay from stream_groups where id = _group;
  perform note_act(_by, 'replay', (select q.name from queues q join stream_groups g on g.queue = q.id where g.id = _group),
                   _facts || jsonb_build_object('group', (select name from stream_groups where id = _group)));
  return replay;
end $$;

-- Takes what a group has parked away, and where it was, before the group goes in the caller's transaction; the answer is how many
-- messages. `parked` and `lane_positions` have no foreign key, whose check would lock the row of the group for each of them, so whoever
-- could put something there is waited for and kept out: readers by the lanes, a redrive by the group.
create or replace function forget_parked(_group integer) returns bigint
language plpgsql set search_path from current
as $$
declare
  n bigint;
begin
  perform lock_lanes(_group, -1, true);
  perform from stream_groups where id = _group for update;
  delete from parked where grp = _group;
  get diagnostics n = row_count;
  delete from lane_positions where grp = _group;
  return n;
end $$;

-- Deletes a group: what it has parked goes with it, counted. Transactions of readers are waited for, ten seconds at most.
create or replace function delete_group(_group integer, _by text, out parked bigint)
language plpgsql set search_path from current set lock_timeout = '10s'
as $$
begin
  parked := forget_parked(_group);
  perform note_act(_by, 'delete', (select q.name from queues q join stream_groups g on g.queue = q.id where g.id = _group),
                   jsonb_build_object('group', (select name from stream_groups where id = _group), 'parked', parked));
  delete from stream_groups where id = _group;
end $$;

-- Counts the messages of a stream from a position on, and how many of them a group's inbox knows; up to `_most` rows of the log are
-- looked at, and `whole` says whether that was all.
create or replace function count_stream(
  _queue integer, _lanes bigint, _base bigint, _tick bigint, _id bigint, _until_tick bigint, _until_id bigint, _since timestamptz, _before timestamptz,
  _consumer text, _most bigint, out messages bigint, out processed bigint, out whole boolean, out first_at timestamptz
)
language plpgsql set search_path from current
as $$
declare
  look constant integer := 10000;
  looked bigint := 0;
  last_tick bigint := (newest_tick()).number;
  r record;
begin
  messages := 0;
  processed := 0;
  whole := false;
  while looked < _most loop
    select count(s.message_id) as n, min(s.published_ms) as first_ms,
           max(s.base) as base, max(s.tick) as tick, max(s.id) filter (where s.message_id is null) as id,
           count(s.message_id) filter (where _consumer is not null and (
             exists (select from inbox i where i.message_id = s.message_id and i.consumer = _consumer)
             or exists (select from inbox_other i where i.message_id = s.message_id and i.consumer = _consumer))) as known
    into r
    from read_stream(_queue, _lanes, _base, _tick, _id, _until_tick, _until_id, look, _since, _before) s;
    messages := messages + r.n;
    processed := processed + r.known;
    first_at := coalesce(first_at, to_timestamp(r.first_ms / 1000));
    whole := r.tick = _tick and r.id = _id or r.id = 9223372036854775807 and r.tick = coalesce(_until_tick, last_tick);
    exit when whole;
    _base := r.base;
    _tick := r.tick;
    _id := r.id;
    looked := looked + look;
  end loop;
end $$;

-- Every group of a stream, or of all: where it is, how far behind, what it has put aside. The lag is counted up to `_most` rows of the
-- log for each position that its lanes are at, and from there on reckoned by ids.
create or replace function group_status(_queue integer, _group text, _most integer)
returns table (
  stream text, name text, made_at timestamptz, since timestamptz, paused_until timestamptz, pause_reason text, paused_by text, members integer,
  lag bigint, counted boolean, lag_ms double precision, parked_keys bigint, parked bigint, held_keys bigint, replaying boolean, moved_at timestamptz
)
language plpgsql set search_path from current
as $$
#variable_conflict use_column
declare
  g record;
  p record;
  c record;
  newest ticks := newest_tick();
begin
  for g in
    select s.*, q.name as queue_name
    from stream_groups s join queues q on q.id = s.queue
    where (_queue is null or s.queue = _queue) and (_group is null or s.name = _group)
    order by q.name, s.name
  loop
    stream := g.queue_name; name := g.name; made_at := g.made_at; since := g.since;
    paused_until := case when g.paused_until > clock_timestamp() then g.paused_until end;
    pause_reason := g.pause_reason; paused_by := g.paused_by;
    members := cardinality(members_of(g.id));
    lag := 0; counted := true; lag_ms := null; replaying := false; moved_at := null;
    for p in select * from group_positions(g.id) loop
      replaying := replaying or p.replay is not null;
      moved_at := greatest(moved_at, p.at);
      c := count_stream(g.queue, p.lanes, p.base, p.tick, p.id, null, null, g.since, null, null, _most);
      if c.whole then
        lag := lag + c.messages;
      else
        -- as many of what is left as there were among those that were looked at
        counted := false;
        lag := lag + c.messages + (greatest(0, newest.top_id - _most - case when p.id < 9223372036854775807 then p.id
                                                                            else (tick_of(p.tick)).top_id end)
                                   * c.messages / greatest(1, _most))::bigint;
      end if;
      lag_ms := greatest(lag_ms, extract(epoch from clock_timestamp() - c.first_at) * 1000);
    end loop;
    select count(*), count(*) filter (where k.held) into parked_keys, held_keys from parked_keys k where k.grp = g.id;
    parked := (select count(*) from parked k where k.grp = g.id);
    return next;
  end loop;
end $$;

-- The partition whose turn it is to be emptied, by its age or because the log has grown too large; null when it is none's.
create or replace function oldest_partition(_retention_ms double precision, _most_bytes double precision default null) returns partitions
language plpgsql set search_path from current
as $$
declare
  p partitions;
  newest timestamptz;
begin
  select * into p from partitions where to_id is not null and emptied_at is null order by from_id limit 1;
  if p.name is null or (select last_value from outbox_id) < p.to_id then
    return null;
  end if;
  execute format('select published_at from %I order by id desc limit 1', p.name) into newest;
  if newest > clock_timestamp() - _retention_ms * interval '1 ms'
    and (_most_bytes is null or _most_bytes > (
      select coalesce(sum(pg_total_relation_size(quote_ident(o.name)::regclass)), 0) from partitions o where o.emptied_at is null))
  then
    return null;
  end if;
  return p;
end $$;

-- The messages of a partition that a group has not read.
create or replace function unread_in(_group integer, _part text) returns bigint
language plpgsql set search_path from current
as $$
declare
  g stream_groups;
  n bigint;
begin
  select * into g from stream_groups where id = _group;
  execute format(
    'with kinds as materialized (
       select exchange, routing_key, type from %I group by exchange, routing_key, type
     ), mine as materialized (
       select k.* from kinds k where stream_admits($1, k.exchange, k.routing_key, k.type, null)
     )
     select count(*)
     from %I o
     where ((o.exchange, o.routing_key, o.type) in (select * from mine)
         or exists (select from exchanges e where e.name = o.exchange and e.kind = ''headers'')
           and stream_admits($1, o.exchange, o.routing_key, o.type, o.headers))
       and o.published_at >= coalesce($2, ''-infinity'')
       and exists (
         select from group_positions($3) r
         cross join lateral tick_of(r.base) a
         cross join lateral tick_of(r.tick) b
         where (r.lanes >> lane_of(o.key, o.message_id)) & 1 = 1
           and o.id > a.floor_id
           and not (pg_visible_in_snapshot(o.xid, b.snapshot) and o.id <= r.id)
           and (r.id = 9223372036854775807 or not pg_visible_in_snapshot(o.xid, a.snapshot)))', _part, _part)
  into n using g.queue, g.since, _group;
  return n;
end $$;

-- Whether a stream takes a message, by the bindings there are now.
create or replace function stream_admits(_queue integer, _exchange text, _routing_key text, _type text, _headers json) returns boolean
language sql stable set search_path from current
as $$
  select _exchange = '' and exists (select from queues where id = _queue and name = _routing_key)
    or exists (
      select from bindings b
      join exchanges e on e.name = b.exchange
      where b.queue = _queue and b.exchange = _exchange
        and (b.type is null or b.type = _type)
        and case e.kind
              when 'headers' then headers_match(_headers, b.match, b.arguments)
              else key_admitted(e.kind, b.routing_key, b.pattern, _routing_key)
            end)
$$;

-- Whether groups of a policy have something to read in a partition yet.
create or replace function unread_by_groups(_part text, _policy text) returns setof integer
language plpgsql set search_path from current
as $$
declare
  g record;
  unread boolean;
begin
  for g in
    select s.id, array_agg(t.snapshot) as seen, min(t.floor_id) as floor
    from stream_groups s
    join queues q on q.id = s.queue and coalesce(q.stream ->> 'onLag', 'hold') = _policy
    cross join lateral (
      select distinct case when p.id = 9223372036854775807 then p.tick else p.base end as tick from group_positions(s.id) p
    ) r
    cross join lateral tick_of(r.tick) t
    group by s.id
  loop
    execute format('select exists (select from %I o cross join unnest($1) s (snapshot)
                                   where o.id > $2 and not pg_visible_in_snapshot(o.xid, s.snapshot))', _part)
    into unread using g.seen, g.floor;
    if unread then
      return next g.id;
    end if;
  end loop;
end $$;

-- Notes which groups lose what they have not read of a partition that is about to be emptied. Their positions stay: what is gone is
-- nowhere.
create or replace function cut_off(_part text) returns void
language plpgsql set search_path from current
as $$
declare
  g record;
  n bigint;
begin
  for g in
    select s.id, s.name, q.name as stream
    from unread_by_groups(_part, 'cut-off') u
    join stream_groups s on s.id = u
    join queues q on q.id = s.queue
  loop
    n := unread_in(g.id, _part);
    if n > 0 then
      perform note_act('upkeep', 'cut-off', g.stream, jsonb_build_object('group', g.name, 'messages', n, 'partition', _part));
    end if;
  end loop;
end $$;

-- The groups that were cut off from a partition, and what each of them lost.
create or replace function cut_off_from(_part text) returns table (stream text, grp text, messages bigint)
language sql stable set search_path from current
as $$
  select queue, facts ->> 'group', (facts ->> 'messages')::bigint from journal where act = 'cut-off' and facts ->> 'partition' = _part
$$;

-- The groups that keep a partition which retention would empty, with what they have not read of it.
create or replace function lagging_groups(_retention_ms double precision, _most_bytes double precision default null)
returns table (stream text, grp text, part text, messages bigint)
language plpgsql set search_path from current
as $$
declare
  p partitions := oldest_partition(_retention_ms, _most_bytes);
begin
  if p.name is not null then
    return query
    select q.name, s.name, p.name, unread_in(s.id, p.name)
    from unread_by_groups(p.name, 'hold') u
    join stream_groups s on s.id = u
    join queues q on q.id = s.queue;
  end if;
end $$;
