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
language plpgsql set search_path from current set lock_timeout = '10s'
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
