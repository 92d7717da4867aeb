-- Up Migration

-- The lanes of a group are locked as the server's own locks are, see lock_lanes.
drop table lanes;

-- Down Migration
create table lanes (
  grp integer not null references stream_groups (id) on delete cascade,
  lane smallint not null,
  primary key (grp, lane)
);
insert into lanes (grp, lane) select g.id, n from stream_groups g cross join generate_series(0, 63) n;
