-- Whether a headers binding admits a message; one without arguments admits every message.
create or replace function headers_match(_headers json, _match text, _arguments jsonb) returns boolean
language sql immutable
as $$
  select case
    when _arguments is null then true
    when _match = 'any' then exists (select from jsonb_each(_arguments) a where _headers::jsonb -> a.key = a.value)
    else coalesce(_headers::jsonb, '{}') @> _arguments
  end
$$;

-- Whether a binding of an exchange of a kind admits a routing key; what is bound by headers is for headers_match. One expression,
-- which the planner puts in place of the call.
create or replace function key_admitted(_kind text, _bound text, _pattern text, _routing_key text) returns boolean
language sql immutable
as $$
  select case _kind
    when 'headers' then false
    when 'fanout' then true
    when 'topic' then _pattern is null or _routing_key ~ _pattern
    else _bound is null or _bound = _routing_key
  end
$$;

-- What the router has to route next, by the state of its position. What is read in the order of ids is planned for the ids at
-- hand, whatever plan the caller keeps for itself: the partitions and the index follow from them.
create or replace function unrouted(_state text, _a pg_snapshot, _b pg_snapshot, _after bigint, _top bigint, _floor bigint, _limit integer)
returns table (id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamptz, headers json)
language plpgsql set search_path from current set plan_cache_mode = auto
as $$
#variable_conflict use_column
begin
  case _state
    when 'between' then
      return query select * from between_ticks(_a, _b, _floor, _limit);
    when 'far' then
      return query select * from between_ticks_below(_a, _b, _floor, _top, _limit);
    when 'amid' then
      return query select * from between_ticks_after(_a, _b, greatest(_after, _floor), _top, _limit);
    when 'restored' then
      return query
        select id, message_id, exchange, routing_key, type, priority, deliver_at, headers
        from outbox
        where id > _floor and (id > _top or not pg_visible_in_snapshot(xid, _b) or not pg_visible_in_snapshot(xid, _a) and id > _after)
        order by id;
  end case;
end $$;

-- Routes one chunk: finds the queues of each message, gives each delivery its position, counts. One statement, set-based, and
-- one plan that is kept: to plan it takes longer than to route a message. A merge join would sort the messages by what they are
-- bound by, and put_ready by their ids again. A stream gets nothing put down: that there is something new for it is all that its
-- readers are told.
create or replace function route_chunk(
  _state text, _a pg_snapshot, _b pg_snapshot, _after bigint, _top bigint, _floor bigint, _limit integer,
  out messages integer, out deliveries integer, out last_id bigint, out queues integer[]
)
language plpgsql set search_path from current set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  at timestamptz := clock_timestamp();
begin
  with batch as materialized (
    select * from unrouted(_state, _a, _b, _after, _top, _floor, _limit)
  ),
  kinds as materialized (
    select exchange, routing_key, type, count(*) as n, bool_or(deliver_at is null or deliver_at <= at) as now
    from batch
    group by exchange, routing_key, type
  ),
  routes as materialized (
    select k.exchange, k.routing_key, k.type, k.n, k.now, x.queue, x.stream
    from kinds k
    cross join lateral (
      select b.queue, q.kind = 'stream' as stream
      from bindings b
      join exchanges e on e.name = b.exchange
      join queues q on q.id = b.queue
      where b.exchange = k.exchange
        and (b.type is null or b.type = k.type)
        and key_admitted(e.kind, b.routing_key, b.pattern, k.routing_key)
      union
      select q.id, q.kind = 'stream'
      from queues q
      where k.exchange = '' and q.name = k.routing_key
    ) x
  ),
  by_headers as materialized (
    select b.id, b.exchange, b.message_id, b.priority, b.deliver_at, h.queue, h.stream
    from batch b
    cross join lateral (
      select distinct g.queue, q.kind = 'stream' as stream
      from bindings g
      join queues q on q.id = g.queue
      where g.exchange = b.exchange
        and (g.type is null or g.type = b.type)
        and headers_match(b.headers, g.match, g.arguments)
    ) h
    where b.exchange in (select e.name from exchanges e where e.kind = 'headers')
  ),
  targets as materialized (
    select b.id, b.message_id, b.priority, b.deliver_at, r.queue
    from batch b
    join routes r using (exchange, routing_key, type)
    where not r.stream
    union all
    select id, message_id, priority, deliver_at, queue from by_headers where not stream
  ),
  put_ready as (
    insert into ready (queue, priority, message, message_id)
    select queue, 9 - priority, id, message_id
    from (select * from targets where deliver_at is null or deliver_at <= at order by id) t
  ),
  put_scheduled as (
    insert into scheduled (due_at, queue, priority, message, message_id)
    select deliver_at, queue, 9 - priority, id, message_id
    from (select * from targets where deliver_at > at order by id) t
  ),
  queued as materialized (
    select queue, sum(n) as n, bool_or(now) as now
    from (
      select queue, n, now from routes where not stream
      union all
      select queue, 1, deliver_at is null or deliver_at <= at from by_headers where not stream
    ) t
    group by queue
  ),
  matched as (
    select exchange, sum(n) as n
    from (
      select distinct exchange, routing_key, type, n from routes
      union all
      select exchange, null, null, count(distinct id) from by_headers group by exchange
    ) t
    group by exchange
  ),
  counts as (
    insert into tally (scope, name, counter, n)
    select 'queue', q.name, 'routed', queued.n
    from queued
    join queues q on q.id = queued.queue
    union all
    select 'exchange', k.exchange, c.counter, c.n
    from (select exchange, sum(n) as n from kinds group by exchange) k
    left join matched m using (exchange)
    cross join lateral (values ('routed', m.n), ('unmatched', k.n - coalesce(m.n, 0))) c (counter, n)
    where c.n > 0
  )
  select (select coalesce(sum(n), 0) from kinds), (select coalesce(sum(n), 0) from queued), (select max(id) from batch),
         array(select queue from queued where now
               union select queue from routes where stream
               union select queue from by_headers where stream)
  into messages, deliveries, last_id, queues;
end $$;

-- Routes the first few of what lies between two ticks, one by one: for a handful of messages this is a fraction of the work of
-- beginning the statement that routes thousands. `ruled`: one of the queues has rules of its flow.
create or replace function route_few(
  _a pg_snapshot, _b pg_snapshot, _floor bigint, _limit integer,
  out messages integer, out deliveries integer, out last_id bigint, out queues integer[], out ruled boolean
)
language plpgsql set search_path from current set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  at timestamptz := clock_timestamp();
  m record;
  target record;
  scopes text[] := '{}';
  names text[] := '{}';
  counters text[] := '{}';
begin
  messages := 0; deliveries := 0; queues := '{}'; ruled := false;
  for m in select * from unrouted('between', _a, _b, 0, 0, _floor, _limit) loop
    select array_agg(t.queue) filter (where not t.stream) as standard, array_agg(t.name) filter (where not t.stream) as names,
           array_agg(t.queue) filter (where t.stream) as streams, bool_or(t.ruled) as ruled
    into target
    from (
      select q.id as queue, q.name, q.kind = 'stream' as stream, q.flow <> '{}' as ruled
      from bindings b
      join exchanges e on e.name = b.exchange
      join queues q on q.id = b.queue
      where b.exchange = m.exchange
        and (b.type is null or b.type = m.type)
        and case e.kind
              when 'headers' then headers_match(m.headers, b.match, b.arguments)
              else key_admitted(e.kind, b.routing_key, b.pattern, m.routing_key)
            end
      union
      select q.id, q.name, q.kind = 'stream', q.flow <> '{}'
      from queues q
      where m.exchange = '' and q.name = m.routing_key
    ) t;

    if target.standard is not null then
      if m.deliver_at > at then
        insert into scheduled (due_at, queue, priority, message, message_id)
        select m.deliver_at, q, 9 - m.priority, m.id, m.message_id from unnest(target.standard) q;
      else
        insert into ready (queue, priority, message, message_id)
        select q, 9 - m.priority, m.id, m.message_id from unnest(target.standard) q;
        queues := queues || target.standard;
      end if;
      deliveries := deliveries + cardinality(target.standard);
      scopes := scopes || array_fill('queue'::text, array[cardinality(target.names)]);
      names := names || target.names;
      counters := counters || array_fill('routed'::text, array[cardinality(target.names)]);
    end if;
    queues := queues || target.streams;
    ruled := ruled or coalesce(target.ruled, false);
    scopes := scopes || 'exchange'::text;
    names := names || m.exchange;
    counters := counters || case when target.standard is null and target.streams is null then 'unmatched' else 'routed' end;
    messages := messages + 1;
    last_id := m.id;
  end loop;

  if messages > 0 then
    insert into tally (scope, name, counter, n)
    select scope, name, counter, count(*) from unnest(scopes, names, counters) c (scope, name, counter) group by scope, name, counter;
  end if;
end $$;

-- Moves due deliveries to ready, in the order of their time, of those that became due since `_low`. Under a pinned horizon what lies
-- below what is due is a graveyard, and it is walked once: the rest begins at the first that lives.
create or replace function promote_due(_limit integer, _low timestamptz, out promoted integer, out queues integer[], out next_due_ms double precision)
language plpgsql set search_path from current set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  at timestamptz := clock_timestamp();
  first timestamptz;
begin
  select s.due_at into first from scheduled s where s.due_at >= _low order by s.due_at limit 1;
  promoted := 0; queues := '{}';
  if first <= at then
    with due as materialized (
      select ctid
      from scheduled
      where due_at >= first and due_at <= at
      order by due_at, position
      limit _limit
      for update skip locked
    ),
    taken as (
      delete from scheduled
      where ctid = any (array(select ctid from due))
      returning *
    ),
    put as (
      insert into ready (queue, priority, message, message_id, attempts, crashes, history)
      select queue, priority, message, message_id, attempts, crashes, history
      from (select * from taken order by due_at, position) t
    )
    select count(*), coalesce(array_agg(distinct queue), '{}') into promoted, queues from taken;

    -- what is due and another's stays due
    if promoted > 0 then
      select s.due_at into first from scheduled s where s.due_at > at order by s.due_at limit 1;
    end if;
  end if;
  if first is not null then
    next_due_ms := greatest(0, extract(epoch from first - clock_timestamp()) * 1000);
  end if;
end $$;

-- How long until the first lease lapses, of those that did not before `_low`.
create or replace function next_lapse(_low timestamptz) returns double precision
language plpgsql set search_path from current set enable_seqscan = off
as $$
begin
  return (
    select greatest(0, extract(epoch from expires_at - clock_timestamp()) * 1000)
    from leases
    where expires_at >= _low
    order by expires_at
    limit 1);
end $$;

create or replace function ms_since(_at timestamptz) returns double precision
language sql volatile
as $$ select extract(epoch from clock_timestamp() - _at)::double precision * 1000 $$;

-- One turn of the relay, one transaction: route a chunk, promote what is due, wake the queues that got something.
-- turn: false when another relay has it. more: there is more to do at once.
--
-- How it reads is told at look_between. What lies between the last tick and now, B, is read, and B is the new tick if there was
-- something, or if finding nothing was costly. When the ticks are another cluster's, or of this one's future, everything unrouted
-- is routed at once, and there is a new beginning.
--
-- What became due longer ago than `_back_ms` is left for a sweep, which looks at everything; so is, without `_lapses`, when the next
-- lease lapses. Both answer how long they took: where a pinned horizon makes them long, the caller asks for them less often.
create or replace function relay_cycle(
  _chunk integer, _sweep boolean, _back_ms double precision default 60000, _lapses boolean default true,
  out turn boolean, out messages integer, out deliveries integer, out promoted integer, out more boolean, out queues integer[],
  out next_due_ms double precision, out next_lease_ms double precision, out rebased boolean,
  out promotion_ms double precision, out lapses_ms double precision
)
language plpgsql set search_path from current set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  whole constant bigint := 9223372036854775807;
  few constant bigint := 8;
  chunk integer := _chunk;
  ruled boolean := true;
  cluster bigint := nullif(current_setting('posthaste.cluster', true), '')::bigint;
  began timestamptz := clock_timestamp();
  first_position bigint;
  here positions;
  a ticks;
  b ticks;
  look record;
  routed record;
  due record;
begin
  turn := false; messages := 0; deliveries := 0; promoted := 0; more := false; queues := '{}'; rebased := false;
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'Cannot route: the isolation level is %, not read committed', current_setting('transaction_isolation') using errcode = 'PH010';
  end if;

  perform from turns where name = 'router' for update skip locked;
  if not found then
    return;
  end if;
  turn := true;
  -- read from a file, which a session does once: its server's never changes
  if cluster is null then
    cluster := (select system_identifier from pg_control_system());
    perform set_config('posthaste.cluster', cluster::text, false);
  end if;
  -- Nobody is told of this commit as of something done: a crash that loses it loses tick, position and deliveries together,
  -- and they are routed again. Whoever claims one of them commits later in the same log, and that flush includes this.
  perform set_config('synchronous_commit', 'off', true);

  first_position := coalesce(pg_sequence_last_value('ready_position'::regclass), 0);
  -- each of the following looks with a snapshot of its own, taken after the turn was locked
  here := position_of('router');
  b := tick_of(here.tick);

  if here.system_identifier is distinct from cluster or pg_snapshot_xmax(b.snapshot) > pg_snapshot_xmax(pg_current_snapshot()) then
    lock table outbox, tally in share mode;
    a := tick_of(here.tick - 1);
    routed := route_chunk('restored', coalesce(a.snapshot, b.snapshot), b.snapshot, here.id, b.top_id, here.floor_id, null);
    perform refold_tally();
    here.floor_id := top_id();
    perform setval('outbox_id', greatest(last_value, here.floor_id)) from outbox_id;
    insert into ticks (number, snapshot, top_id, floor_id) values (here.tick + 1, pg_current_snapshot(), here.floor_id, here.floor_id);
    insert into positions (reader, tick, id, floor_id, system_identifier) values ('router', here.tick + 1, whole, here.floor_id, cluster);
    rebased := true;
    more := true;
  elsif here.id < whole then
    a := tick_of(here.tick - 1);
    look := look_between(here.id, a, b, here.floor_id, _chunk);
    routed := route_chunk(look.state, a.snapshot, b.snapshot, here.id, look.edge, here.floor_id, _chunk);
    here.id := id_after(look.state, look.edge, a, b, _chunk, routed.messages, routed.last_id);
    insert into positions (reader, tick, id, floor_id, system_identifier) values ('router', here.tick, here.id, here.floor_id, cluster);
    more := true;
  else
    a := b;
    b.number := a.number + 1;
    b.snapshot := pg_current_snapshot();
    b.at := began;
    b.floor_id := a.floor_id;
    b.top_id := coalesce(pg_sequence_last_value('outbox_id'::regclass), 1);
    look := look_between(whole, a, b, here.floor_id, _chunk);
    -- few ids are few messages, or what was committed late, which does not fit then and is read on by its ids
    if look.state = 'between' and b.top_id - a.top_id <= few then
      chunk := least(_chunk, few + 1);
      routed := route_few(a.snapshot, b.snapshot, here.floor_id, chunk);
      ruled := routed.ruled;
    else
      routed := route_chunk(look.state, a.snapshot, b.snapshot, 0, look.edge, here.floor_id, _chunk);
    end if;
    here.id := id_after(look.state, look.edge, a, b, chunk, routed.messages, routed.last_id);
    more := here.id < whole;
    -- where the walk ends, should the sequence have been set back
    if here.id < whole then
      b.top_id := greatest(b.top_id, top_id());
    end if;
    -- a tick for nothing now and then: rows of an open or rolled back bulk are passed over once, not in every cycle
    if more or routed.messages > 0 or a.at < began - interval '1 minute' or clock_timestamp() > began + interval '20 ms' then
      insert into ticks select b.*;
      insert into positions (reader, tick, id, floor_id, system_identifier) values ('router', b.number, here.id, here.floor_id, cluster);
    end if;
  end if;
  messages := routed.messages;
  deliveries := routed.deliveries;
  queues := routed.queues;

  began := clock_timestamp();
  due := promote_due(_chunk, case when _sweep then '-infinity' else began - _back_ms * interval '1 ms' end);
  promotion_ms := ms_since(began);
  promoted := due.promoted;
  next_due_ms := due.next_due_ms;
  more := more or promoted >= _chunk;
  if promoted > 0 or messages > 1 then
    queues := array(select distinct q from unnest(queues || due.queues) q);
  end if;
  if _lapses or _sweep then
    began := clock_timestamp();
    next_lease_ms := next_lapse(case when _sweep then '-infinity' else began - interval '1 minute' end);
    lapses_ms := ms_since(began);
  end if;

  if queues <> '{}' then
    if ruled or promoted > 0 then
      perform after_routing(queues, first_position);
    end if;
    perform pg_notify(queue_channel(q), '') from unnest(queues) q;
  end if;
end $$;
