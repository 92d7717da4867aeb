-- Names that belong to this schema alone: two schemas in one database neither wake nor block each other.
create or replace function relay_channel() returns text
language sql stable set search_path from current
as $$ select 'posthaste.' || current_schema() $$;

create or replace function queue_channel(_queue integer) returns text
language sql stable set search_path from current
as $$ select 'posthaste.' || current_schema() || '.' || _queue $$;

-- Advisory locks: the class is Posthaste's, the object is this schema's.
create or replace function lock_class() returns integer
language sql immutable
as $$ select 1886349416 $$;

create or replace function lock_object(_purpose text) returns integer
language sql stable set search_path from current
as $$ select hashtext(current_schema() || ':' || _purpose) $$;
