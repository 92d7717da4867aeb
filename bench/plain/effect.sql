-- The effect of drain.effect and others: one row for every message, the same on all sides.

-- name: set_up
create table bench_effects (
  order_id text not null,
  cents integer not null
);

-- name: insert_effect
insert into bench_effects (order_id, cents) values ($1, $2);
