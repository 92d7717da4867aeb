-- Up Migration

-- Nobody asks any more: publish_all does it itself, and asks firsts_by_key.
drop function if exists publish_keyed(json, integer, text[]);

-- One function for where lanes are and were.
drop function if exists group_positions(integer);
drop function if exists positions_before(integer, bigint);

-- Down Migration
