import { expect, inject, test } from 'vitest'
import { createDatabase, lonelyServer, noLonelyServer } from '../support/database.ts'
import { run } from '../support/server.ts'

test('a database of one test is unseen by another', async () => {
  await using ours = await createDatabase()
  await using theirs = await createDatabase()
  await ours.pool.query('create table seen ()')
  const { rows } = await theirs.pool.query(`select to_regclass('seen') as found`)
  expect(rows).toEqual([{ found: null }])
})

test('a dropped database is gone, also when somebody is connected', async () => {
  const database = await createDatabase()
  const name = new URL(database.url).pathname.slice(1)
  await database.pool.query('select 1')
  await database.drop()
  const { rows } = await run(inject('server').url, `select from pg_database where datname = '${name}'`)
  expect(rows).toEqual([])
})

test.skipIf(noLonelyServer)('a lonely server may crash without anybody noticing', async () => {
  await using lonely = await lonelyServer({ settings: { max_connections: 20 } })
  await lonely.pool.query('create table kept ()')
  await lonely.server.crash()
  await lonely.server.restart()
  expect((await lonely.pool.query('show max_connections')).rows).toEqual([{ max_connections: '20' }])
  expect((await lonely.pool.query('select count(*)::int as rows from kept')).rows).toEqual([{ rows: 0 }])
})
