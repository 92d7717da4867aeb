-- Up Migration

-- Nobody asks any more: publish_all does it itself, and asks firsts_by_key.
drop function if exists publish_keyed(json, integer, text[]);

-- Down Migration
