-- Refuses a message: names it by its place in the call and its type, says what is wrong, quotes no content.
create or replace function refuse_message(_type text, _reason text, _code text default 'PH001') returns boolean
language plpgsql
as $$
begin
  raise exception 'Cannot publish "%": %', coalesce(_type, '?'), _reason using errcode = _code;
end $$;

-- Refuses a JSON text that no reader could take: neither text nor jsonb holds NUL or half of a surrogate pair, and json lets
-- both in as escapes. What is left of the text once escaped backslashes and whole pairs are gone has none of either.
create or replace function refuse_unreadable(_text text) returns void
language plpgsql
as $$
begin
  if regexp_replace(replace(_text, e'\\\\', ''), e'\\\\u[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2}', '', 'g') ~* e'\\\\u(0000|d[89a-f])' then
    raise exception 'Cannot publish: a text in the message holds a NUL or a lone surrogate' using errcode = 'PH001';
  end if;
end $$;

-- How deep a JSON text is nested, at most `_limit` + 1. Strings are cut out first; each round removes the innermost pairs.
create or replace function json_depth(_text text, _limit integer) returns integer
language plpgsql immutable strict
as $$
declare
  rest text := regexp_replace(regexp_replace(_text, e'"(?:[^"\\\\]|\\\\.)*"', '', 'g'), '[^][{}]', '', 'g');
  next text;
  depth integer := 0;
begin
  while rest <> '' and depth <= _limit loop
    next := regexp_replace(rest, e'\\[\\]|\\{\\}', '', 'g');
    if next = rest then
      return _limit + 1;
    end if;
    rest := next;
    depth := depth + 1;
  end loop;
  return depth;
end $$;

-- What is wrong with a JSON text, or null.
create or replace function json_problem(_name text, _text text, _max_bytes integer) returns text
language plpgsql immutable set search_path from current
as $$
begin
  if octet_length(_text) > _max_bytes then
    return format('%s has %s bytes, the limit is %s', _name, octet_length(_text), _max_bytes);
  end if;
  if length(_text) - length(translate(_text, '[{', '')) > 64 and json_depth(_text, 64) > 64 then
    return format('%s is nested deeper than 64', _name);
  end if;
  return null;
end $$;

-- What is wrong with a name, or null.
create or replace function name_problem(_name text, _value text, _least integer) returns text
language sql immutable
as $$
  select case
    when _value is null then _name || ' is missing'
    when octet_length(_value) < _least then _name || ' is empty'
    when octet_length(_value) > 255 then _name || ' has more than 255 bytes'
    when _value ~ e'[\\u0001-\\u001f\\u007f-\\u009f]' then _name || ' holds a control character'
  end
$$;

-- What is wrong with headers, or null. They are compared as jsonb when they are routed, so they must be able to become that:
-- a number out of its range would stop the router for everybody.
create or replace function headers_problem(_headers json) returns text
language plpgsql immutable set search_path from current
as $$
begin
  if json_typeof(_headers) <> 'object' then
    return 'headers are not an object';
  end if;
  perform _headers::jsonb;
  return coalesce(
    json_problem('headers', _headers::text, 65536),
    (select name_problem('a name in headers', k, 1) from json_object_keys(_headers) k
     where name_problem('a name in headers', k, 1) is not null limit 1));
exception when others then
  return 'headers hold a value that cannot be compared';
end $$;

-- What is wrong with a message as a whole, or null. The same rules as in the TypeScript client.
create or replace function message_problem(
  _exchange text, _routing_key text, _type text, _version integer, _key text, _priority integer, _delay_ms double precision,
  _deliver_at timestamptz, _expires_in_ms double precision, _correlation_id text, _causation_id text, _headers json, _payload json,
  _body bytea, _content_type text, _payload_bytes integer
) returns text
language sql stable set search_path from current
as $$
  select coalesce(
    name_problem('exchange', _exchange, 0),
    name_problem('routing_key', _routing_key, 0),
    name_problem('type', _type, 1),
    case when _version not between 1 and 32767 then 'version is not within 1 and 32767' end,
    case when _key = '' then 'key is empty' end,
    case when octet_length(_key) > 1024 then 'key has more than 1024 bytes' end,
    case when _priority not between 0 and 9 then 'priority is not within 0 and 9' end,
    case when _delay_ms is not null and _deliver_at is not null then 'delay_ms and deliver_at exclude each other' end,
    case when not (_delay_ms between 0 and 315360000000) then 'delay_ms is not within 0 and ten years' end,
    case when not (_deliver_at between '0001-01-02' and '9999-12-31') then 'deliver_at is out of range' end,
    case when not (_expires_in_ms >= 1 and _expires_in_ms <= 315360000000) then 'expires_in_ms is not within 1 and ten years' end,
    case when _correlation_id is not null then name_problem('correlation_id', _correlation_id, 1) end,
    case when _causation_id is not null then name_problem('causation_id', _causation_id, 1) end,
    case when _headers is not null then headers_problem(_headers) end,
    case when _payload is null and _body is null then 'payload is missing' end,
    case when _payload is not null and _body is not null then 'payload and body exclude each other' end,
    case when _body is not null and _content_type is null then 'content_type is missing for body' end,
    case when _body is null and _content_type is not null then 'content_type is for a body, and there is none' end,
    case when _content_type is not null then name_problem('content_type', _content_type, 1) end,
    case when octet_length(_body) > _payload_bytes then format('body has %s bytes, the limit is %s', octet_length(_body), _payload_bytes) end,
    json_problem('payload', _payload::text, _payload_bytes))
$$;

-- True, or an error that says what is wrong. The common case is settled by one expression.
create or replace function checked(
  _exchange text, _routing_key text, _type text, _version integer, _key text, _priority integer, _delay_ms double precision,
  _deliver_at timestamptz, _expires_in_ms double precision, _correlation_id text, _causation_id text, _headers json, _payload json,
  _body text, _content_type text, _payload_bytes integer, _exchanges text[]
) returns boolean
language plpgsql stable set search_path from current
as $$
declare
  content text := _payload::text;
  problem text;
begin
  if _exchange = any (_exchanges) and _routing_key || _type !~ e'[\\u0001-\\u001f\\u007f-\\u009f]'
    and octet_length(_routing_key) <= 255 and octet_length(_type) between 1 and 255
    and _version is null and _priority is null and _delay_ms is null and _deliver_at is null and _expires_in_ms is null
    and _correlation_id is null and _causation_id is null and _headers is null and _body is null and _content_type is null
    and (_key is null or octet_length(_key) between 1 and 1024)
    and octet_length(content) <= least(_payload_bytes, 65536)
    and octet_length(content) - octet_length(translate(content, '[{', '')) <= 64
  then
    return true;
  end if;
  if not coalesce(_exchange, '') = any (_exchanges) then
    return refuse_message(_type, format('exchange "%s" does not exist; declare it first', _exchange), 'PH002');
  end if;
  problem := message_problem(
    coalesce(_exchange, ''), coalesce(_routing_key, ''), _type, coalesce(_version, 1), _key, coalesce(_priority, 0), _delay_ms, _deliver_at,
    _expires_in_ms, _correlation_id, _causation_id, _headers, _payload, decode(_body, 'base64'), _content_type, _payload_bytes);
  if problem is not null then
    return refuse_message(_type, problem);
  end if;
  return true;
end $$;

-- Whether a queue's `stream` says that its readers put keys aside.
create or replace function parks_keys(_stream jsonb) returns boolean
language sql immutable
as $$ select coalesce(_stream ->> 'headOfLine' = 'park-key', false) $$;

-- Refuses a message without a key that would go to a stream whose readers keep the order of keys.
create or replace function refuse_keyless(_exchange text, _routing_key text, _type text, _headers json) returns boolean
language plpgsql set search_path from current
as $$
declare
  stream_name text := (
    select q.name from queues q
    where parks_keys(q.stream) and stream_admits(q.id, coalesce(_exchange, ''), coalesce(_routing_key, ''), _type, _headers)
    limit 1);
begin
  return stream_name is null
    or refuse_message(_type, format('key is missing, and stream "%s" keeps messages in the order of their keys', stream_name));
end $$;
