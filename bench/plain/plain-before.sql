-- What a plain claim ran through before queues had rules: nothing looks at the bytes of bodies, nor at what the queue says.
set search_path = posthaste, pg_temp;

-- Joins deliveries with their messages. `_known` are the ids that the consumer has processed before; of two deliveries of one
-- message the second is a duplicate too.
create or replace function with_messages(_taken ready[], _known uuid[]) returns setof claimed
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
  twins uuid[] := array(select u.message_id from unnest(_taken) u group by u.message_id having count(*) > 1);
begin
  return query
  select t.priority, t.position, t.message, t.message_id, t.attempts, t.crashes, t.history,
         t.message_id = any (_known) or t.message_id = any (twins) and exists (
           select from unnest(_taken) u where u.message_id = t.message_id and (u.priority, u.position) < (t.priority, t.position)),
         m.id is null, coalesce(m.expires_at <= clock_timestamp(), false),
         m.exchange, m.routing_key, m.type, m.version, m.key, m.correlation_id, m.causation_id,
         m.headers::text, m.payload::text, m.body, m.content_type, m.published_at
  from unnest(_taken) t
  left join messages_by_id(array(select distinct u.message from unnest(_taken) u)) m on m.id = t.message
  order by t.priority, t.position;
end $$;

-- Notes rows that the caller has just deleted from ready in the inbox, and reads their messages: the deliveries are this
-- transaction's from here on. A claim does not fail because somebody works on the same message: its rows would pass for the
-- leavings of a crash.
create or replace function take(_consumer text, _taken ready[]) returns setof claimed
language plpgsql set search_path from current set plan_cache_mode = force_generic_plan
as $$
declare
  known uuid[];
begin
  if _taken is null then
    return;
  end if;
  begin
    known := note_processed(_consumer, array(select t.message_id from unnest(_taken) t));
  exception when lock_not_available or deadlock_detected then
    select n.taken, n.known into _taken, known from note_or_put_off(_consumer, _taken) n;
  end;
  if _taken is not null then
    return query select * from with_messages(_taken, known);
  end if;
end $$;
