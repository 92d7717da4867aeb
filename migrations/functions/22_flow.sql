-- Says how queues flow: an object of names and rules. Consumers are told where the rules are new.
create or replace function put_flows(_flows jsonb) returns void
language plpgsql set search_path from current
as $$
declare
  changed integer[];
begin
  with told as (
    update queues q
    set flow = f.value
    from jsonb_each(_flows) f
    where q.name = f.key and q.flow <> f.value
    returning q.id
  )
  select array_agg(id) into changed from told;
  if changed is not null then
    perform pg_notify(flow_channel(), '');
  end if;
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
