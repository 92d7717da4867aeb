-- The record of calls is evidence: nothing of it is rewritten, and all that may go is a body.
create or replace function keep_effect_attempts() returns trigger
language plpgsql
as $$
begin
  if tg_op = 'UPDATE' and new.response is null then
    new.response := old.response;
    new.sealed := old.sealed;
    if new is not distinct from old then
      new.response := null;
      return new;
    end if;
  end if;
  raise exception 'Cannot change attempt "%": the record of calls is append-only', old.id using errcode = 'PH006';
end $$;

do $$
begin
  if not exists (select from pg_trigger where tgrelid = 'effect_attempts'::regclass and tgname = 'append_only') then
    create trigger append_only before update or delete on effect_attempts for each row execute function keep_effect_attempts();
  end if;
end $$;

-- Appends to the record of an operation; a second row of the same call and event adds nothing. Says whether it is new.
create or replace function note_effect(
  _e effects, _event text, _worker text, _token bigint default null, _call uuid default null, _provider_key uuid default null,
  _late boolean default false, _outcome text default null, _reason text default null, _status integer default null,
  _response text default null, _sealed boolean default false
) returns boolean
language plpgsql set search_path from current
as $$
begin
  insert into effect_attempts (operation, event, token, worker, call, provider_key, fingerprint, late, outcome, reason, status, response, sealed)
  values (_e.operation, _event, coalesce(_token, _e.token), _worker, _call, coalesce(_provider_key, _e.provider_key), _e.fingerprint,
          _late, _outcome, _reason, _status, _response, _sealed)
  on conflict (call, event) do nothing;
  return found;
end $$;

-- How long the key of an operation is still good for, in milliseconds: null without a window or before its first call.
create or replace function effect_window_ms(_e effects) returns double precision
language sql stable set search_path from current
as $$ select _e.key_window_ms - extract(epoch from clock_timestamp() - _e.key_since) * 1000 $$;

-- Claims an operation: from here on, until the lease lapses, its token is the only one that counts. The first durable write
-- before any call. What is not claimed says why:
--   ended      it is recorded, or in review: nothing is to be done
--   busy       another claim is live
--   different  it was begun with another request, provider or kind
-- The same claim asked for twice, its answer lost on the way, is one. A claim that finds a call begun and nothing known of it
-- has found an unknown.
create or replace function claim_effect(
  _operation text, _kind text, _provider text, _fingerprint text, _provider_key uuid, _window_ms double precision,
  _claim uuid, _worker text, _lease_ms double precision
) returns table (verdict text, effect effects, lease_left_ms double precision, window_left_ms double precision)
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
declare
  e effects;
begin
  insert into effects (operation, kind, provider, fingerprint, provider_key, key_window_ms, claim, holder, lease_until)
  values (_operation, _kind, _provider, _fingerprint, _provider_key, _window_ms, _claim, _worker, clock_timestamp() + _lease_ms * interval '1 ms')
  on conflict (operation) do nothing
  returning * into e;
  if found then
    perform note_effect(e, 'claimed', _worker);
    return query select 'claimed', e, _lease_ms, null::double precision;
    return;
  end if;

  select * into e from effects where operation = _operation for update;
  if e.fingerprint <> _fingerprint then
    verdict := 'different';
  elsif e.state in ('succeeded', 'failed', 'needs_review') then
    verdict := 'ended';
  elsif e.lease_until > clock_timestamp() and e.claim <> _claim then
    verdict := 'busy';
  else
    verdict := 'claimed';
    update effects
    set token = token + (claim <> _claim)::integer,
        claim = _claim,
        holder = _worker,
        lease_until = clock_timestamp() + _lease_ms * interval '1 ms',
        key_window_ms = _window_ms,
        state = case when calls > 0 then 'unknown' else state end,
        changed_at = clock_timestamp()
    where operation = _operation
    returning * into e;
    perform note_effect(e, 'claimed', _worker);
  end if;
  return query select verdict, e, extract(epoch from e.lease_until - clock_timestamp())::double precision * 1000, effect_window_ms(e);
end $$;

-- Keeps a claim for longer. False: it is another's.
create or replace function renew_effect(_operation text, _token bigint, _lease_ms double precision) returns boolean
language plpgsql set search_path from current set enable_seqscan = off set lock_timeout = '2s'
as $$
begin
  update effects
  set lease_until = clock_timestamp() + _lease_ms * interval '1 ms'
  where operation = _operation and token = _token and lease_until > clock_timestamp();
  return found;
end $$;
