-- Where a requester is told that replies are there. A channel's name has 63 bytes at most, so it is named by a part of a hash.
create or replace function replies_channel(_requester text) returns text
language sql stable set search_path from current
as $$ select 'posthaste.' || current_schema() || '.r.' || left(md5(_requester), 8) $$;

-- Notes that somebody waits for the reply to a message, in the transaction that publishes it.
create or replace function open_request(_id uuid, _requester text, _timeout_ms double precision) returns void
language sql set search_path from current
as $$
  insert into requests (id, requester, until) values (_id, _requester, clock_timestamp() + _timeout_ms * interval '1 ms')
$$;

-- Replies to a request in the caller's transaction. False: nobody waits for it any more, or it was replied to before; then the
-- reply is counted for the queue as late, and dropped.
create or replace function reply(request uuid, queue text, payload json) returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
declare
  waiting text;
begin
  update requests r set reply = reply.payload, replied_at = clock_timestamp()
  where r.id = reply.request and r.replied_at is null and r.until > clock_timestamp()
  returning r.requester into waiting;
  if waiting is null then
    insert into tally (scope, name, counter, n) values ('queue', reply.queue, 'late-replies', 1);
    return false;
  end if;
  perform pg_notify(replies_channel(waiting), '');
  return true;
end $$;

-- Takes the replies that are there.
create or replace function take_replies(_ids uuid[]) returns table (id uuid, reply text)
language sql set search_path from current set enable_seqscan = off
as $$
  delete from requests r where r.id = any (_ids) and r.replied_at is not null returning r.id, r.reply::text
$$;

-- Ends the waiting; a reply that is just being committed is waited for a second.
create or replace function close_request(_id uuid) returns table (replied boolean, reply text)
language sql set search_path from current set enable_seqscan = off set lock_timeout = '1s'
as $$
  delete from requests r where r.id = _id returning r.replied_at is not null, r.reply::text
$$;

-- Forgets requests whose requester is gone.
create or replace function trim_requests() returns boolean
language plpgsql set search_path from current set enable_seqscan = off
as $$
begin
  if not exists (select from requests where until < clock_timestamp() - interval '10 seconds') or not upkeep_turn() then
    return false;
  end if;
  delete from requests where ctid = any (array(
    select ctid from requests where until < clock_timestamp() - interval '10 seconds' order by until limit 10000));
  return true;
end $$;
