-- Why an operation wants somebody; null when it does not. What is recorded and what a live claim is at want nobody, but an
-- unknown one is told of also while somebody is at it.
create or replace function effect_wants(_e effects) returns text
language sql stable set search_path from current
as $$
  select case
    when _e.contradicted then 'contradicted'
    when _e.state in ('succeeded', 'failed') then null
    when _e.state = 'needs_review' then 'needs_review'
    when _e.outcome is not null and (_e.lease_until is null or _e.lease_until <= clock_timestamp()) then 'unrecorded'
    when _e.state = 'unknown' and _e.outcome is null then 'unknown'
    when _e.lease_until <= clock_timestamp() then 'overdue'
  end
$$;

-- What wants somebody, each operation for one reason, and how long the oldest of them has not changed. Reads what is open and
-- nothing else, so that it may be asked for every few seconds.
create or replace function effect_attention(
  out unknown bigint, out needs_review bigint, out overdue bigint, out unrecorded bigint, out contradicted bigint, out oldest_ms double precision
)
language sql stable set search_path from current
as $$
  select count(*) filter (where w.wants = 'unknown'),
         count(*) filter (where w.wants = 'needs_review'),
         count(*) filter (where w.wants = 'overdue'),
         count(*) filter (where w.wants = 'unrecorded'),
         count(*) filter (where w.wants = 'contradicted'),
         extract(epoch from clock_timestamp() - min(w.changed_at) filter (where w.wants is not null))::double precision * 1000
  from (
    select e.changed_at, effect_wants(e) as wants
    from effects e
    where e.state in ('started', 'unknown', 'needs_review') or e.contradicted
  ) w
$$;
