import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { run } from '../support/server.ts'

const here = import.meta.dirname
const [bun] = globSync('node_modules/@oven/bun-*/bin/bun*', { cwd: here })
if (!bun) console.log('skipped: npm has no Bun for this machine')

test.skipIf(!bun)(
  'on Bun, in a transaction of Bun.SQL: committed, rolled back, refused outside, aborted and over',
  async () => {
    await using database = await createDatabase()
    await run(database.url, 'create table orders (id text primary key)')
    const { stdout, stderr } = spawnSync(join(here, bun!), ['run', join(here, 'bun-program.ts')], {
      env: { ...process.env, DATABASE_URL: database.url },
      encoding: 'utf8',
      timeout: 60_000,
    })
    expect({ stdout: stdout && JSON.parse(stdout), stderr }).toEqual({
      stdout: {
        committed: { duplicate: false },
        rolledBack: 'out of stock',
        outside: 'TRANSACTION_REQUIRED',
        aborted: 'TRANSACTION_ABORTED',
        over: 'refused',
        handled: { id: 'a' },
      },
      stderr: '',
    })
    const said = await run(database.url, 'select payload from posthaste.outbox')
    expect(said.rows).toEqual([{ payload: { id: 'a' } }])
    expect((await run(database.url, 'select id from orders order by id')).rows).toEqual([
      { id: 'a' },
      { id: 'handled' },
    ])
  },
)
