-- Puts rows that came back from a rollback in their places again, as if they had never been claimed: their process lives, so
-- nobody is to be charged. Returns those of the given rows that exist; what is not restored is still held by a transaction
-- that the server has not ended yet, and what is not returned was committed.
create or replace function restore_ready(_queue integer, _priorities smallint[], _positions bigint[])
returns table ("position" bigint, restored boolean)
language sql set search_path from current set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
  with seen as materialized (
    select r.ctid as row, r.position
    from unnest(_priorities, _positions) as p (priority, position)
    join ready r on r.queue = _queue and r.priority = p.priority and r.position = p.position
  ), free as materialized (
    select r.ctid as row from ready r where r.ctid = any (array(select row from seen)) for update skip locked
  ), gone as (
    delete from ready where ctid = any (array(select row from free))
    returning ready.*
  ), back as (
    insert into ready select * from gone returning ready.position
  )
  select seen.position, seen.position in (select back.position from back) from seen
$$;
