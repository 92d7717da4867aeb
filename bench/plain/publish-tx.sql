-- The limit of publish.tx: a transaction that inserts its business row and, in place of a message, one row into a plain table.
-- The business row is the same on both sides.

-- name: set_up
create table bench_orders (
  id uuid primary key,
  cents integer not null,
  country text not null
);
create table bench_messages (
  id uuid primary key,
  type text not null,
  payload json not null,
  published_at timestamptz not null default clock_timestamp()
);

-- name: insert_order
insert into bench_orders (id, cents, country) values ($1, $2, $3);

-- name: insert_message
insert into bench_messages (id, type, payload) values ($1, $2, $3);
