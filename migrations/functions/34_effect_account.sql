-- What an operator looks for first, in one row; all of them are 0 in a ledger that needs nobody.
--   overdue     begun, nothing is known of it, its lease has lapsed, and nobody has come back to it
--   unrecorded  the outcome is known, and the business rows are not written
create or replace function effect_account(out started bigint, out succeeded bigint, out failed bigint, out unknown bigint,
                                          out needs_review bigint, out overdue bigint, out unrecorded bigint, out contradicted bigint)
language sql stable set search_path from current
as $$
  select count(*) filter (where state = 'started'),
         count(*) filter (where state = 'succeeded'),
         count(*) filter (where state = 'failed'),
         count(*) filter (where state = 'unknown'),
         count(*) filter (where state = 'needs_review'),
         count(*) filter (where state = 'started' and outcome is null and lease_until <= clock_timestamp()),
         count(*) filter (where state in ('started', 'unknown') and outcome is not null and coalesce(lease_until <= clock_timestamp(), true)),
         count(*) filter (where e.contradicted)
  from effects e
$$;

-- Gives one consumer the processed ids of another: after a rename, a split or a merge it still knows what was done. The other
-- must not be running; what it processes afterwards is not known. Returns how many ids are new to the heir.
create or replace function inherit_processed(_heir text, _from text) returns bigint
language plpgsql set search_path from current set enable_seqscan = on
as $$
declare
  inherited bigint;
  others bigint;
begin
  insert into inbox (message_id, consumer, processed_at)
  select message_id, _heir, processed_at from inbox where consumer = _from order by message_id
  on conflict do nothing;
  get diagnostics inherited = row_count;
  insert into inbox_other (message_id, consumer, processed_at)
  select message_id, _heir, processed_at from inbox_other where consumer = _from order by message_id
  on conflict do nothing;
  get diagnostics others = row_count;
  return inherited + others;
end $$;
