-- Makes the heads of all that a group has parked due now, also of what is held; the answer is how many.
create or replace function release_keys(_group integer) returns integer
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '10s'
as $$
declare
  n integer;
begin
  with released as (
    update parked_keys k
    set due_at = clock_timestamp(), held = false
    from (select p.key from parked_keys p where p.grp = _group order by p.key for no key update) o
    where k.grp = _group and k.key = o.key
    returning 1
  )
  select count(*) into n from released;
  return n;
end $$;
