-- Puts rows that came back from a rollback in their places again, as if they had never been claimed: their process lives, so
-- nobody is to be charged. Returns those of the given rows that exist; what is not restored is still held by a transaction
-- that the server has not ended yet, and what is not returned was committed.
create or replace function restore_ready(_queue integer, _priorities smallint[], _positions bigint[])
returns table ("position" bigint, restored boolean)
language sql set search_path from current set enable_seqscan = off
as $$
  with seen as materialized (
    select r.row, p.position
    from unnest(_priorities, _positions) as p (priority, position)
    cross join lateral (
      select ctid as row from ready where queue = _queue and priority = p.priority and position = p.position offset 0
    ) r
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
