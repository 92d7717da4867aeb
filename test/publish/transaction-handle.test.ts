import { Kysely, PostgresDialect } from 'kysely'
import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { pgDatabase } from '../../src/databases/pg.ts'
import { outsideOfTransaction, recognise } from '../../src/transaction-handle.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

type Schema = { message: { note: string } }

// What publish does with a handle: recognise it, one statement, and the proof checked by that statement.
async function publish(handle: unknown, note = 'said'): Promise<void> {
  const { queryable, proof } = await recognise(handle)
  const { rows } = await queryable.query(
    `insert into message select $1 where $2::text is null or current_setting('posthaste.probe', true) = $2 returning note`,
    [note, proof ?? null],
  )
  if (rows.length === 0) throw outsideOfTransaction(handle)
}

describe('publish', () => {
  let scratch: TestDatabase
  let pool: pg.Pool
  let db: Kysely<Schema>

  beforeAll(async () => {
    scratch = await createDatabase()
    pool = scratch.pool
    db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
    await pool.query('create table message (note text); create table business (id int)')
  })
  beforeEach(() => pool.query('truncate message, business'))
  afterAll(() => scratch.drop())

  const said = async () => (await pool.query('select note from message order by note')).rows.map(({ note }) => note)

  async function withClient<Result>(work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    const client = await pool.connect()
    try {
      return await work(client)
    } finally {
      client.release(true)
    }
  }

  test.each([
    ['a simple statement', 'insert into business values (1)'],
    ['an extended statement', { text: 'insert into business values ($1)', values: [1] }],
    ['a named statement', { name: 'business', text: 'insert into business values ($1)', values: [1] }],
  ])('after %s and before it, is part of the client’s transaction', async (_, statement) => {
    await withClient(async (client) => {
      for (const end of ['rollback', 'commit']) {
        await client.query('begin')
        await client.query(statement)
        await publish(client, 'last')
        await client.query(end)

        await client.query('begin')
        await publish(client, 'first')
        await client.query(statement)
        await client.query(end)
      }
    })
    expect(await said()).toEqual(['first', 'last'])
  })

  test('as a transaction’s only statement is part of it', async () => {
    await withClient(async (client) => {
      await client.query('begin')
      await publish(client)
      await client.query('commit')
    })
    expect(await said()).toEqual(['said'])
  })

  test('inside a savepoint goes with the savepoint', async () => {
    await withClient(async (client) => {
      await client.query('begin')
      await client.query('savepoint a')
      await publish(client, 'taken back')
      await client.query('rollback to savepoint a')
      await publish(client, 'kept')
      await client.query('release savepoint a')
      await client.query('commit')
    })
    expect(await said()).toEqual(['kept'])
  })

  test('refuses a client outside of a transaction, before BEGIN and after COMMIT (P-1)', async () => {
    await withClient(async (client) => {
      const refused = { code: 'TRANSACTION_REQUIRED', message: expect.stringContaining('after BEGIN') }
      expect(() => recognise(client)).toThrow(expect.objectContaining(refused))
      await expect(publish(client)).rejects.toMatchObject(refused)
      await client.query('begin')
      await publish(client)
      await client.query('commit')
      await expect(publish(client)).rejects.toMatchObject(refused)
    })
    expect(await said()).toEqual(['said'])
  })

  test('is not deceived by a BEGIN or a COMMIT that nobody has waited for', async () => {
    await withClient(async (client) => {
      const begin = client.query('begin')
      await publish(client, 'after begin')
      const commit = client.query('commit')
      await expect(publish(client, 'after commit')).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
      await Promise.all([begin, commit])
      await client.query('begin')
      const { queryable } = await recognise(client)
      const sneaked = client.query('commit')
      await expect(queryable.query(`insert into message values ('later')`, [])).rejects.toMatchObject({
        code: 'TRANSACTION_REQUIRED',
      })
      await sneaked
    })
    expect(await said()).toEqual(['after begin'])
  })

  test('many times at once in one transaction is in order, and draws no warning from pg', async () => {
    const warnings: string[] = []
    const note = ({ message }: Error) => warnings.push(message)
    process.on('warning', note)
    await withClient(async (client) => {
      await client.query('begin')
      await Promise.all(Array.from({ length: 20 }, (_, n) => publish(client, `${n}`)))
      await client.query('commit')
    })
    process.off('warning', note)
    expect(await said()).toHaveLength(20)
    expect(warnings).toEqual([])
  })

  test('refuses an aborted transaction, on the driver’s word and on the server’s', async () => {
    const aborted = { code: 'TRANSACTION_ABORTED' }
    await withClient(async (client) => {
      await client.query('begin')
      await client.query('select 1 / 0').catch(() => {})
      await expect(publish(client)).rejects.toMatchObject(aborted)
      await expect(publish(bare(client))).rejects.toMatchObject(aborted)
      await client.query('rollback')
      await client.query('begin')
      const failing = client.query('select 1 / 0').catch(() => {})
      await expect(publish(client)).rejects.toMatchObject(aborted)
      await failing
    })
    const kysely = db.transaction().execute(async (tx) => {
      await tx
        .selectFrom('message')
        .select('nowhere' as never)
        .execute()
        .catch(() => {})
      await publish(tx)
    })
    await expect(kysely).rejects.toMatchObject(aborted)
    expect(await said()).toEqual([])
  })

  test('does not wait for a client that is gone', async () => {
    const client = await pool.connect()
    client.on('error', () => {})
    await client.query('begin')
    const { rows } = await client.query('select pg_backend_pid() as pid')
    const asleep = client.query('select pg_sleep(60)').catch(() => {})
    await pool.query('select pg_terminate_backend($1)', [rows[0].pid])
    await expect(publish(client)).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
    await asleep
    await expect(publish(client)).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
    client.release(true)
  })

  test('refuses a pool and names the client to pass', async () => {
    await expect(publish(pool)).rejects.toMatchObject({
      code: 'TRANSACTION_REQUIRED',
      message: expect.stringMatching(/"pg.Pool".*pool\.connect\(\) after BEGIN/),
    })
  })

  test('refuses Kysely’s db and names the tx to pass', async () => {
    await expect(publish(db)).rejects.toMatchObject({
      code: 'TRANSACTION_REQUIRED',
      message: expect.stringMatching(/"Kysely".*db\.transaction\(\)\.execute/),
    })
    await db.connection().execute(async (connection) => {
      await expect(publish(connection)).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
    })
  })

  test('takes Kysely’s tx, and nothing of it once it is over', async () => {
    let kept: unknown
    const failed = db.transaction().execute(async (tx) => {
      await publish(tx, 'rolled back')
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    await db.transaction().execute(async (tx) => {
      kept = tx
      await publish(tx)
    })
    await expect(publish(kept)).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
    expect(await said()).toEqual(['said'])
  })

  test('takes Kysely’s controlled transaction, its savepoints too', async () => {
    const tx = await db.startTransaction().execute()
    await publish(tx, 'kept')
    const inside = await tx.savepoint('a').execute()
    await publish(inside, 'taken back')
    await inside.rollbackToSavepoint('a').execute()
    await tx.commit().execute()
    await expect(publish(tx)).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
    expect(await said()).toEqual(['kept'])
  })

  test('takes what a handler is given', async () => {
    const database = pgDatabase(pool)
    await database.transaction(async (raw) => {
      const { tx, revoke } = database.guard(raw)
      await publish(tx)
      revoke()
      await expect(publish(tx)).rejects.toMatchObject({ code: 'TRANSACTION_OVER' })
    })
    expect(await said()).toEqual(['said'])
  })

  test('takes anything with query(text, values) in a transaction, and refuses it in autocommit', async () => {
    await withClient(async (client) => {
      for (const handle of [bare(client), rowsOnly(client)]) {
        await expect(publish(handle)).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
        await client.query('begin')
        await publish(handle)
        await client.query('commit')
        await expect(publish(handle)).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
      }
    })
    await expect(publish(bare(pool))).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
    expect(await said()).toEqual(['said', 'said'])
  })

  test.each([[undefined], [null], [42], ['begin'], [{}], [[]], [() => {}], [Object.create(null)], [{ query: 'text' }]])(
    'refuses %j, and says what to pass',
    async (garbage) => {
      await expect(publish(garbage)).rejects.toMatchObject({
        code: 'TRANSACTION_REQUIRED',
        message: expect.stringContaining('pass a pg client after BEGIN, Kysely’s tx'),
      })
    },
  )
})

function bare(on: pg.Pool | pg.PoolClient) {
  return { query: (text: string, values: unknown[]) => on.query(text, values) }
}

function rowsOnly(on: pg.PoolClient) {
  return { query: async (text: string, values: unknown[]) => (await on.query(text, values)).rows }
}
