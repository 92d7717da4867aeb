-- Whether the deliveries of a queue stand in lines.
create or replace function lined(_flow jsonb) returns boolean
language sql immutable set search_path from current
as $$ select _flow ?| '{fair,maxConcurrencyPerKey,maxBytes}' $$;

-- Puts what is ready from a position on into the lines of its keys. Under the router's turn.
create or replace function line_up(_queue integer, _from bigint, _flow jsonb) returns void
language plpgsql set search_path from current set enable_seqscan = off set jit = off
as $$
begin
  with fresh as materialized (
    select r.priority, r.position, r.message
    from generate_series(0, 9) p (priority)
    cross join lateral (
      select priority, position, message from ready where queue = _queue and priority = p.priority::smallint and position >= _from
    ) r
  )
  insert into lines (queue, key, priority, position, bytes)
  select _queue, coalesce(m.key, ''), f.priority, f.position,
         case when _flow ? 'maxBytes' then coalesce(octet_length(m.payload::text), octet_length(m.body), 0) else 0 end
  from fresh f
  left join messages_by_id(array(select distinct message from fresh)) m on m.id = f.message
  on conflict do nothing;
end $$;

-- Says how queues flow: an object of names and rules. Consumers are told where the rules are new.
create or replace function put_flows(_flows jsonb) returns void
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '10s'
as $$
declare
  q record;
begin
  if not exists (select from queues t join jsonb_each(_flows) f on f.key = t.name where t.flow <> f.value) then
    return;
  end if;
  perform from turns where name = 'router' for update;
  for q in
    select t.id, f.value as flow from queues t join jsonb_each(_flows) f on f.key = t.name where t.flow <> f.value
  loop
    update queues set flow = q.flow where id = q.id;
    delete from lines where queue = q.id;
    if lined(q.flow) then
      perform line_up(q.id, 0, q.flow);
    end if;
  end loop;
  perform pg_notify(flow_channel(), '');
end $$;

-- What follows a cycle of the router, for queues that got something: `_from` is where their new positions began.
create or replace function after_routing(_queues integer[], _from bigint) returns void
language plpgsql set search_path from current
as $$
declare
  q record;
begin
  for q in select id, flow from queues where id = any (_queues) and flow ?| '{fair,maxConcurrencyPerKey,maxBytes,maxLength}' loop
    if lined(q.flow) then
      perform line_up(q.id, _from, q.flow);
    end if;
    if q.flow ?| '{maxLength,maxBytes}' and q.flow ->> 'overflow' is distinct from 'reject-publish' then
      perform drop_overflow(q.id, q.flow);
    end if;
  end loop;
end $$;

-- Whether the time to live of a queue is over for a message: it began when the message was published, when what it was delayed to
-- came, or when the delivery was last redriven.
create or replace function outlived(_ttl_ms double precision, _published_at timestamptz, _deliver_at timestamptz, _history jsonb) returns boolean
language sql stable set search_path from current
as $$
  select greatest(
    _published_at, _deliver_at,
    (select max((h ->> 'at')::timestamptz) from jsonb_array_elements(coalesce(_history, '[]')) h where h ->> 'kind' = 'redriven')
  ) + _ttl_ms * interval '1 ms' <= clock_timestamp()
$$;

-- Puts the last `_n` of claimed rows, in the order of a claim, into their places again. Consumers are told: what comes up short
-- passes for all there is.
create or replace function put_back(_taken ready[], _n integer) returns void
language plpgsql set search_path from current
as $$
begin
  insert into ready
  select t.* from unnest(_taken) t order by t.priority desc, t.position desc limit _n;
  perform pg_notify(queue_channel(_taken[1].queue), '');
end $$;

-- How many deliveries of a queue have not ended, from the counts.
create or replace function depth_of(_queue text) returns bigint
language sql volatile set search_path from current
as $$
  select coalesce(sum(case when c.counter in ('routed', 'redriven') then c.n
                           when c.counter in ('completed', 'dead', 'expired', 'discarded', 'purged') then -c.n else 0 end), 0)::bigint
  from counters() c
  where c.scope = 'queue' and c.name = _queue
$$;

-- How many rows of ready are to go so that a queue keeps to its limits, the oldest first.
create or replace function overflow_of(_queue integer, _flow jsonb) returns bigint
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  by_length bigint := depth_of((select name from queues where id = _queue)) - (_flow ->> 'maxLength')::bigint;
  too_many bigint := (select sum(bytes) from lines where queue = _queue) - (_flow ->> 'maxBytes')::bigint;
  by_bytes bigint;
begin
  if too_many > 0 then
    select count(*) into by_bytes
    from (
      select sum(bytes) over (order by priority desc, position) - bytes as before from lines where queue = _queue
    ) l
    where l.before < too_many;
  end if;
  return greatest(0, by_length, by_bytes);
end $$;

-- Takes what is too much out of a queue: the oldest of the least urgent that nobody holds. It is a dead letter, or counted and gone.
create or replace function drop_overflow(_queue integer, _flow jsonb) returns void
language plpgsql set search_path from current set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
declare
  at_once constant integer := 10000;
  wanted bigint := least(at_once, overflow_of(_queue, _flow));
  keeps boolean := coalesce(_flow ->> 'overflow', 'dead-letter') = 'dead-letter';
  gone ready[];
begin
  for urgency in reverse 9 .. 0 loop
    exit when wanted <= 0;
    with oldest as materialized (
      select ctid from ready where queue = _queue and priority = urgency::smallint order by position limit wanted for update skip locked
    ),
    taken as (
      delete from ready where ctid = any (array(select ctid from oldest)) returning ready as row
    )
    select array_agg(row) into gone from taken;
    continue when gone is null;
    wanted := wanted - cardinality(gone);
    delete from lines where queue = _queue and position = any (array(select g.position from unnest(gone) g));
    if keeps then
      perform bury(_queue, g.message, g.message_id, g.priority, g.attempts, g.crashes, g.history, 'overflow') from unnest(gone) g;
    end if;
    perform count_queue(_queue, case when keeps then 'dead' else 'discarded' end, cardinality(gone));
    perform count_queue(_queue, 'overflowed', cardinality(gone));
  end loop;
end $$;

-- The queues that let publishers wait, with what leads to them and whether they are full: by the counts, and by what is ready.
create or replace function refusing_queues() returns table (name text, is_full text, bindings json)
language sql volatile set search_path from current set enable_seqscan = off
as $$
  select q.name,
         case when depth_of(q.name) >= (q.flow ->> 'maxLength')::bigint then 'it has ' || (q.flow ->> 'maxLength') || ' deliveries (maxLength)'
              when (select sum(l.bytes) from lines l where l.queue = q.id) >= (q.flow ->> 'maxBytes')::bigint
                then 'its deliveries have ' || (q.flow ->> 'maxBytes') || ' bytes (maxBytes)' end,
         (select coalesce(json_agg(json_build_object('exchange', b.exchange, 'kind', e.kind, 'queue', q.name, 'routingKey', b.routing_key,
                                                     'pattern', b.pattern, 'type', b.type, 'match', b.match, 'arguments', b.arguments)), '[]')
          from bindings b join exchanges e on e.name = b.exchange where b.queue = q.id)
  from queues q
  where q.flow ->> 'overflow' = 'reject-publish'
$$;
