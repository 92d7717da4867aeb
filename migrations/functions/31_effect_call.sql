-- Begins a call: the last look before it, and the durable note that it may have been made. Anything but `begun` means that
-- the provider must not be called:
--   lost     the claim is another's, or its lease has lapsed
--   known    an answer to an earlier call has arrived meanwhile
--   closed   the provider may have forgotten the key (or is about to), or a call that must not be repeated has been made
--   expired  it is too late for a first call: the operation has failed, and nothing was called
create or replace function begin_effect_call(
  _operation text, _token bigint, _call uuid, _worker text, _lease_ms double precision, _margin_ms double precision, _not_after timestamptz
) returns text
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
declare
  e effects;
begin
  select * into e from effects where operation = _operation for update;
  if e.token is distinct from _token or e.lease_until <= clock_timestamp() or e.state not in ('started', 'unknown') then
    return 'lost';
  elsif e.outcome is not null then
    return 'known';
  elsif exists (select from effect_attempts a where a.call = _call and a.event = 'called') then
    return 'begun';
  elsif _not_after <= clock_timestamp() then
    if e.calls > 0 then
      return 'closed';
    end if;
    update effects set outcome = 'failed', reason = 'expired', known_at = clock_timestamp(), changed_at = clock_timestamp()
    where operation = _operation;
    perform note_effect(e, 'expired', _worker, _outcome => 'failed', _reason => 'expired');
    return 'expired';
  elsif effect_window_ms(e) <= _margin_ms or (e.kind = 'at-most-once' and e.key_calls > 0) then
    return 'closed';
  end if;

  update effects
  set calls = calls + 1,
      key_calls = key_calls + 1,
      key_since = coalesce(key_since, clock_timestamp()),
      lease_until = clock_timestamp() + _lease_ms * interval '1 ms',
      changed_at = clock_timestamp()
  where operation = _operation;
  perform note_effect(e, 'called', _worker, _call => _call);
  return 'begun';
end $$;

-- Writes down what a call or a question to the provider came to, always: also when the claim was lost meanwhile (`late`),
-- because the money may have moved. What is definite becomes known, whoever says it; the rest counts only from the present
-- claim. A success is believed over a failure; one that comes after a failure was recorded, or a second one under another
-- key, is a contradiction for people to look at. `fresh`: this made it known. `_release` lets the next claim begin at once.
create or replace function end_effect_call(
  _operation text, _token bigint, _call uuid, _event text, _worker text, _provider_key uuid, _outcome text, _reason text,
  _status integer, _response text, _sealed boolean, _lease_ms double precision, _release boolean
) returns table (late boolean, fresh boolean, known text, contradicted boolean)
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
  e effects;
  is_late boolean;
  is_fresh boolean := false;
  contradiction boolean := false;
begin
  select * into e from effects where operation = _operation for update;
  is_late := e.token <> _token or e.state not in ('started', 'unknown');
  if not note_effect(e, _event, _worker, _token, _call, _provider_key, is_late, _outcome, left(_reason, 500), _status, _response, _sealed) then
    return query select is_late, false, e.outcome, e.contradicted;
    return;
  end if;

  if _outcome = 'succeeded' then
    contradiction := e.state = 'failed' or exists (
      select from effect_attempts a
      where a.operation = _operation and a.outcome = 'succeeded' and a.provider_key <> _provider_key and a.event <> 'resolved');
  end if;
  if e.state in ('succeeded', 'failed') then
    update effects set contradicted = e.contradicted or contradiction, changed_at = clock_timestamp() where operation = _operation;
  elsif (_outcome = 'succeeded' and e.outcome is distinct from 'succeeded')
    or (_outcome = 'failed' and e.outcome is null and _provider_key = e.provider_key)
  then
    update effects
    set outcome = _outcome, reason = left(_reason, 500), response = _response, sealed = _sealed,
        known_at = clock_timestamp(), changed_at = clock_timestamp(),
        state = case when e.state = 'needs_review' then 'unknown' else e.state end,
        lease_until = case when is_late or e.lease_until is null then e.lease_until else clock_timestamp() + _lease_ms * interval '1 ms' end,
        contradicted = e.contradicted or contradiction
    where operation = _operation
    returning * into e;
    is_fresh := true;
  elsif not is_late and e.outcome is null then
    update effects
    set state = 'unknown', reason = left(_reason, 500), changed_at = clock_timestamp(),
        key_errors = key_errors + coalesce(_event = 'answered' and _status >= 500, false)::integer,
        lease_until = case when _release then null else e.lease_until end
    where operation = _operation;
  end if;
  return query select is_late, is_fresh, e.outcome, e.contradicted or contradiction;
end $$;

-- Gives an operation a new key for the provider: only after the provider repeated an error for the old one and then
-- confirmed that it has done nothing. Five keys are the most an operation has.
create or replace function renew_effect_key(_operation text, _token bigint, _worker text, _key_number smallint, _provider_key uuid) returns boolean
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
declare
  e effects;
begin
  update effects
  set key_number = _key_number, provider_key = _provider_key, key_since = null, key_calls = 0, key_errors = 0, changed_at = clock_timestamp()
  where operation = _operation and token = _token and lease_until > clock_timestamp() and outcome is null
    and state in ('started', 'unknown') and key_number = _key_number - 1 and _key_number <= 5
  returning * into e;
  if not found then
    return false;
  end if;
  perform note_effect(e, 'new-key', _worker, _reason => 'the provider repeats an error and confirms that nothing was done');
  return true;
end $$;

-- Puts an operation before people: nothing may be repeated any more, and nobody can say what happened.
create or replace function review_effect(_operation text, _token bigint, _worker text, _reason text) returns boolean
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
declare
  e effects;
begin
  update effects
  set state = 'needs_review', reason = left(_reason, 500), lease_until = null, changed_at = clock_timestamp()
  where operation = _operation and token = _token and outcome is null and state in ('started', 'unknown')
  returning * into e;
  if not found then
    return false;
  end if;
  perform note_effect(e, 'reviewed', _worker, _reason => _reason);
  return true;
end $$;
