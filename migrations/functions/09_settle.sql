-- Adds to a counter of a queue, in the transaction of the transition it counts.
create or replace function count_queue(_queue integer, _counter text, _n bigint) returns void
language plpgsql set search_path from current
as $$
begin
  if _n > 0 then
    insert into tally (scope, name, counter, n)
    select 'queue', name, _counter, _n from queues where id = _queue;
  end if;
end $$;

-- Keeps a delivery as a dead letter: the whole message where the log still has it, and every attempt.
create or replace function bury(
  _queue integer, _message bigint, _message_id uuid, _priority smallint, _attempts integer, _crashes integer, _history jsonb, _reason text
) returns void
language plpgsql set search_path from current
as $$
begin
  insert into dead_letters (queue, reason, history, attempts, crashes, message, message_id, priority, exchange, routing_key, type, version,
                            key, correlation_id, causation_id, headers, payload, body, content_type, published_at)
  select _queue, _reason, coalesce(_history, '[]'), _attempts, _crashes, _message, _message_id, _priority, m.exchange, m.routing_key, m.type,
         m.version, m.key, m.correlation_id, m.causation_id, m.headers, m.payload, m.body, m.content_type, m.published_at
  from (select 1) one
  left join messages_by_id(array[_message]) m on true;
end $$;

-- A history whose last attempt has no time yet: it is the database's.
create or replace function dated(_history jsonb) returns jsonb
language sql volatile set search_path from current
as $$
  select case
    when _history -> -1 is null or _history -> -1 ? 'at' then _history
    else jsonb_set(_history, '{-1,at}', to_jsonb(to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
  end
$$;

-- Ends or reschedules deliveries whose rows are the caller's already. `_outcomes` is a JSON array of objects with the keys
--   kind (completed | retry | dead | expired | discarded), priority, message, message_id, attempts, crashes, duplicate, history,
--   reason, delay_ms, failed (the attempt failed, and none of the batch succeeded after it).
create or replace function apply_outcomes(_queue integer, _consumer text, _outcomes jsonb) returns void
language plpgsql set search_path from current
as $$
declare
  o record;
begin
  insert into scheduled (due_at, queue, priority, message, message_id, attempts, crashes, history)
  select clock_timestamp() + coalesce(x.delay_ms, 0) * interval '1 ms', _queue, x.priority, x.message, x.message_id, x.attempts, x.crashes, dated(x.history)
  from jsonb_to_recordset(_outcomes) x (kind text, priority smallint, message bigint, message_id uuid, attempts integer, crashes integer,
                                        history jsonb, delay_ms double precision)
  where x.kind = 'retry';

  for o in
    select x.*
    from jsonb_to_recordset(_outcomes) x (kind text, priority smallint, message bigint, message_id uuid, attempts integer, crashes integer,
                                          history jsonb, reason text)
    where x.kind = 'dead'
  loop
    perform bury(_queue, o.message, o.message_id, o.priority, o.attempts, o.crashes, dated(o.history), o.reason);
  end loop;

  insert into tally (scope, name, counter, n)
  select 'queue', q.name, c.counter, c.n
  from queues q
  cross join (
    select case x.kind when 'retry' then 'retried' else x.kind end as counter, count(*) as n
    from jsonb_to_recordset(_outcomes) x (kind text)
    group by 1
  ) c
  where q.id = _queue;
  perform note_failures(_queue, (select count(*) from jsonb_to_recordset(_outcomes) x (failed boolean) where x.failed));
end $$;

-- Records what a claimed batch came to, as the last statement before COMMIT. In a transaction that an earlier error
-- aborted, this statement fails, so an abort that a handler swallowed never passes for success. The note of a duplicate is
-- not taken back: it is another delivery's, which had its effect.
create or replace function settle(_queue integer, _consumer text, _completed integer, _outcomes jsonb default null) returns void
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan
as $$
begin
  if _completed > 0 then
    insert into tally (scope, name, counter, n)
    select 'queue', name, 'completed', _completed from queues where id = _queue;
  end if;
  if _outcomes is not null then
    perform forget_processed(_consumer, array(
      select x.message_id from jsonb_to_recordset(_outcomes) x (kind text, message_id uuid, duplicate boolean)
      where x.kind in ('retry', 'dead') and x.duplicate is not true));
    perform apply_outcomes(_queue, _consumer, _outcomes);
  end if;
end $$;

-- Charges a crash to rows whose claim did not commit and whose holder is gone. Beyond `_max_crashes` they are dead letters.
create or replace function charge_crashes(_queue integer, _priorities smallint[], _positions bigint[], _max_crashes integer)
returns table ("position" bigint, message_id uuid, crashes integer, dead boolean)
language plpgsql set search_path from current set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  r record;
begin
  for r in
    select s.*
    from (select * from unnest(_priorities, _positions) as p (priority, position) order by priority, position) p
    cross join lateral (
      select ready.ctid as row, ready.*
      from ready
      where queue = _queue and priority = p.priority and position = p.position and xmax <> '0'::xid
      for update skip locked
    ) s
  loop
    position := r.position;
    message_id := r.message_id;
    crashes := r.crashes + 1;
    dead := crashes > _max_crashes;
    if dead then
      delete from ready where ctid = r.row;
      perform bury(_queue, r.message, r.message_id, r.priority, r.attempts, crashes, r.history, 'crashed');
      perform count_queue(_queue, 'dead', 1);
    else
      -- not an update: of a row its own transaction has locked, the new version inherits the raw xmax and stays suspect
      delete from ready where ctid = r.row;
      insert into ready (queue, priority, position, message, message_id, attempts, crashes, history)
      values (_queue, r.priority, r.position, r.message, r.message_id, r.attempts, charge_crashes.crashes, r.history);
    end if;
    return next;
  end loop;
end $$;
