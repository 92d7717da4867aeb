-- The limit of drain.noop: rows of an id and a payload, deleted and returned in batches by competing connections, each batch in
-- a transaction in which a handler would do its work.

-- name: set_up
create table bench_jobs (
  id bigint primary key,
  payload json not null
);

-- name: fill
insert into bench_jobs (id, payload)
select n, $2::json from generate_series(1, $1::bigint) n;

-- name: take
delete from bench_jobs
where id = any (array(
  select id from bench_jobs order by id limit $1 for update skip locked
))
returning id, payload;
