import type pg from 'pg'

/** Copies every row of these schemas into a database that has the tables, as a dump that is restored there does; sequences too. */
export async function moveData(from: pg.Pool, to: pg.Pool, schemas: readonly string[]): Promise<void> {
  const client = await to.connect()
  try {
    await client.query('begin')
    await client.query(`set local session_replication_role = 'replica'`)
    for (const schema of schemas) await moveSchema(from, client, schema)
    await client.query('commit')
  } finally {
    client.release()
  }
}

async function moveSchema(from: pg.Pool, to: pg.PoolClient, schema: string): Promise<void> {
  const { rows: tables } = await from.query<{ name: string; columns: string[] }>(
    `select format('%I.%I', schemaname, tablename) as name,
            (select array_agg(quote_ident(attname) order by attnum)
             from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '') as columns
     from pg_tables join pg_class c on c.oid = format('%I.%I', schemaname, tablename)::regclass
     where schemaname = $1 and not c.relispartition`,
    [schema],
  )
  await to.query(`truncate ${tables.map(({ name }) => name).join(', ')}`)
  for (const { name, columns } of tables) {
    const { rows } = await from.query<{ row: string }>(`select t::text as row from ${name} t`)
    await to.query(
      `insert into ${name} (${columns.join(', ')}) overriding system value
       select ${columns.map((column) => `(r).${column}`).join(', ')}
       from (select unnest($1::text[])::${name}) given (r)`,
      [rows.map(({ row }) => row)],
    )
  }
  const { rows: sequences } = await from.query<{ name: string; last: string | null }>(
    `select format('%I.%I', schemaname, sequencename) as name, last_value as last from pg_sequences where schemaname = $1`,
    [schema],
  )
  for (const { name, last } of sequences) if (last !== null) await to.query('select setval($1, $2)', [name, last])
}
