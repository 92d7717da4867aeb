-- What a person has found out about an operation that nobody could tell the outcome of. `succeeded` and `failed` become
-- known, and the next run of the operation records them with the business rows; `retry` says that nothing was done, and
-- lets the next run call again under a new key. The journal tells of it. Says what it did:
--   resolved, missing, ended, busy (a claim is live), contradicted (it is known to be otherwise), exhausted (five keys), changed
create or replace function resolve_effect(
  _operation text, _as text, _response text, _sealed boolean, _by text, _reason text, _key_number smallint, _provider_key uuid
) returns text
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
declare
  e effects;
begin
  select * into e from effects where operation = _operation for update;
  if not found then
    return 'missing';
  elsif e.state in ('succeeded', 'failed') then
    return 'ended';
  elsif e.lease_until > clock_timestamp() then
    return 'busy';
  elsif e.outcome is not null and e.outcome <> _as then
    return 'contradicted';
  elsif _as = 'retry' and e.key_number <> _key_number - 1 then
    return 'changed';
  elsif _as = 'retry' and _key_number > 5 then
    return 'exhausted';
  end if;

  if _as = 'retry' then
    update effects
    set state = 'unknown', reason = left(_reason, 500), token = token + 1, lease_until = null, changed_at = clock_timestamp(),
        key_number = _key_number, provider_key = _provider_key, key_since = null, key_calls = 0, key_errors = 0
    where operation = _operation
    returning * into e;
  else
    update effects
    set state = 'unknown', outcome = _as, reason = left(_reason, 500), token = token + 1, lease_until = null,
        response = case when outcome is null then _response else response end,
        sealed = case when outcome is null then _sealed else sealed end,
        known_at = coalesce(known_at, clock_timestamp()), changed_at = clock_timestamp()
    where operation = _operation
    returning * into e;
  end if;
  perform note_effect(e, 'resolved', _by, _outcome => nullif(_as, 'retry'), _reason => left(_reason, 500),
                      _response => case when _as <> 'retry' then _response end, _sealed => _sealed);
  perform note_act(_by, 'resolve', null, jsonb_build_object('operation', _operation, 'as', _as, 'reason', left(_reason, 500)));
  return 'resolved';
end $$;

-- Erases the bodies of operations that ended before a time, a thousand at once; what happened, when, and to which request
-- stays. Returns how many operations.
create or replace function erase_effects(_before timestamptz) returns integer
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
declare
  old text[];
begin
  with gone as (
    update effects set response = null, sealed = false
    where operation = any (array(
      select operation from effects where ended_at < _before and response is not null order by ended_at limit 1000 for update skip locked))
    returning operation
  )
  select coalesce(array_agg(operation), '{}') into old from gone;
  update effect_attempts set response = null where operation = any (old) and response is not null;
  return cardinality(old);
end $$;
