-- Up Migration

-- The lanes of a group are locked as the server's own locks are, see lock_lanes.
drop table lanes;
alter table lane_positions drop constraint lane_positions_grp_fkey;

-- Their parameters and columns are other ones.
drop function if exists read_on(integer, text, text, bigint, bigint, timestamptz, integer, bigint);
drop function if exists hold_lanes(integer, bigint, bigint, text[]);

-- Down Migration
alter table lane_positions add foreign key (grp) references stream_groups (id) on delete cascade;
create table lanes (
  grp integer not null references stream_groups (id) on delete cascade,
  lane smallint not null,
  primary key (grp, lane)
);
insert into lanes (grp, lane) select g.id, n from stream_groups g cross join generate_series(0, 63) n;
