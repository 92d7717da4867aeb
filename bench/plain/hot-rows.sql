-- The effect of hot.rows: one of 200 rows is updated, in the transaction of the delivery. Both sides do it; they differ in the
-- size of their batches alone.

-- name: set_up
create table bench_accounts (
  id integer primary key,
  messages bigint not null
);

-- name: fill
insert into bench_accounts (id, messages)
select n, 0 from generate_series(1, $1::integer) n;

-- name: update
update bench_accounts set messages = messages + 1 where id = $1;
