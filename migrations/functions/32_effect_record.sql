-- Records the known outcome of a claim in the caller's transaction, together with what the business writes there:
--   recorded   it is the first time: write your rows
--   duplicate  it was recorded before, with its rows
--   lost       another claim has taken over; roll back
create or replace function record_effect(_operation text, _token bigint, _worker text) returns text
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
declare
  e effects;
begin
  select * into e from effects where operation = _operation for update;
  if e.state in ('succeeded', 'failed') then
    return 'duplicate';
  elsif e.token is distinct from _token or e.outcome is null then
    return 'lost';
  end if;
  update effects set state = outcome, ended_at = clock_timestamp(), changed_at = clock_timestamp(), lease_until = null
  where operation = _operation;
  perform note_effect(e, 'recorded', _worker, _outcome => e.outcome);
  return 'recorded';
end $$;

-- Records an outcome that was learned elsewhere (a webhook, a reconciliation file), in the caller's transaction. A call under
-- way is not stopped: what it still answers is kept as evidence, and its claim finds the operation recorded.
--   missing       there is no such operation (yet)
--   contradicted  it is known to have ended otherwise; it is marked for people to look at
create or replace function record_effect_from_elsewhere(_operation text, _as text, _response text, _sealed boolean, _by text, _reason text) returns text
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
declare
  e effects;
begin
  select * into e from effects where operation = _operation for update;
  if not found then
    return 'missing';
  elsif e.outcome is not null and e.outcome <> _as then
    update effects set contradicted = true, changed_at = clock_timestamp() where operation = _operation;
    perform note_effect(e, 'contradicted', _by, _outcome => _as, _reason => left(_reason, 500), _response => _response, _sealed => _sealed);
    return 'contradicted';
  elsif e.state in ('succeeded', 'failed') then
    return 'duplicate';
  end if;
  update effects
  set state = _as, outcome = _as, reason = case when outcome is null then left(_reason, 500) else reason end,
      response = case when outcome is null then _response else response end,
      sealed = case when outcome is null then _sealed else sealed end,
      token = token + 1, lease_until = null,
      known_at = coalesce(known_at, clock_timestamp()), ended_at = clock_timestamp(), changed_at = clock_timestamp()
  where operation = _operation
  returning * into e;
  perform note_effect(e, 'recorded', _by, _outcome => _as, _reason => left(_reason, 500), _response => _response, _sealed => _sealed);
  return 'recorded';
end $$;
