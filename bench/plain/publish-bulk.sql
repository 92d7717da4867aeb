-- The limit of publish.bulk: a thousand rows in one statement, from one text parameter, into the table of publish.tx.

-- name: insert_messages
insert into bench_messages (id, type, payload)
select id, type, payload from json_to_recordset($1::json) as message (id uuid, type text, payload json);
