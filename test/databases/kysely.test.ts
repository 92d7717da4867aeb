import { CamelCasePlugin, CompiledQuery, Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { kyselyDatabase } from '../../src/databases/kysely.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { pooler } from '../support/pooler.ts'
import { promisesOfADatabase, sessionOf } from './conformance.ts'

type Schema = { effect: { note: string } }

const kysely = (pool: pg.Pool) => new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })

const adapter = {
  sql: async (tx: Transaction<Schema>, text: string) =>
    (await sql<Record<string, unknown>>`${sql.raw(text)}`.execute(tx)).rows,
}

promisesOfADatabase<Transaction<Schema>>('kyselyDatabase with its pool', {
  ...adapter,
  open: (pool, options) => kyselyDatabase(kysely(pool), { ...options, pool }),
})

promisesOfADatabase<Transaction<Schema>>('kyselyDatabase without its pool', {
  ...adapter,
  open(pool, options) {
    // As its user must, when we cannot.
    pool.on('error', () => {}).on('connect', (client) => client.on('error', () => {}))
    vi.stubEnv('DATABASE_URL', pool.options.connectionString)
    return kyselyDatabase(kysely(pool), options)
  },
})

describe('kyselyDatabase', () => {
  let scratch: TestDatabase

  beforeAll(async () => {
    scratch = await createDatabase()
    await scratch.pool.query(
      'create table effect (note text); create schema side; create table side.effect (note text)',
    )
  })
  beforeEach(() => scratch.pool.query('truncate effect, side.effect'))
  afterEach(() => vi.unstubAllEnvs())
  afterAll(() => scratch.drop())

  const bench = (config: pg.PoolConfig = {}) => {
    const pool = new pg.Pool({ connectionString: scratch.url, max: 1, ...config })
    const db = kysely(pool)
    return { pool, db, database: kyselyDatabase(db, { pool }), [Symbol.asyncDispose]: () => db.destroy() }
  }

  test('a handler has all of Kysely: builder, raw sql, plugins, schemas, compiled queries, introspection', async () => {
    await using b = bench()
    await b.database.transaction(async (raw) => {
      const { tx } = b.database.guard(raw)
      expect(tx.isTransaction).toBe(true)
      await tx.insertInto('effect').values({ note: 'built' }).execute()
      await tx.withSchema('side').insertInto('effect').values({ note: 'aside' }).execute()
      await sql`insert into effect values (${'raw'})`.execute(tx)
      await tx.executeQuery(CompiledQuery.raw('insert into effect values ($1)', ['compiled']))
      await tx.schema.createTable('made').addColumn('id', 'integer').execute()
      expect((await tx.introspection.getTables()).map(({ name }) => name)).toContain('made')
      const camel = tx.withPlugin(new CamelCasePlugin())
      expect((await sql`select 1 as one_two`.execute(camel)).rows).toEqual([{ oneTwo: 1 }])
      await Promise.all(
        [1, 2, 3].map((n) =>
          tx
            .insertInto('effect')
            .values({ note: `at once ${n}` })
            .execute(),
        ),
      )
      await tx.schema.dropTable('made').execute()
    })
    const { rows } = await scratch.pool.query(
      'select note from effect union all select note from side.effect order by note',
    )
    expect(rows.map(({ note }) => note)).toEqual([
      'aside',
      'at once 1',
      'at once 2',
      'at once 3',
      'built',
      'compiled',
      'raw',
    ])
  })

  test('nothing made of a guarded transaction outlives it', async () => {
    await using b = bench()
    await b.database.transaction(async (raw) => {
      const { tx, revoke } = b.database.guard(raw)
      const over = expect.objectContaining({ code: 'TRANSACTION_OVER' })
      const compiled = tx.insertInto('effect').values({ note: 'late' }).compile()
      const late = [tx, tx.withoutPlugins(), tx.withSchema('side'), tx.withPlugin(new CamelCasePlugin())]
      revoke()
      for (const handle of late) {
        await expect(handle.insertInto('effect').values({ note: 'late' }).execute()).rejects.toEqual(over)
        await expect(handle.executeQuery(compiled)).rejects.toEqual(over)
        await expect(sql`select 1`.execute(handle)).rejects.toEqual(over)
      }
      const { signal } = new AbortController()
      await expect(tx.executeQuery(compiled, { signal })).rejects.toEqual(over)
    })
    expect((await scratch.pool.query('select from effect')).rowCount).toBe(0)
  })

  test('the user’s plugins do not touch the columns of our statements', async () => {
    await using b = bench()
    const database = kyselyDatabase(b.db.withPlugin(new CamelCasePlugin()), { pool: b.pool })
    const ours = 'select 1 as message_id'
    expect((await database.query(ours, [])).rows).toEqual([{ message_id: 1 }])
    expect((await database.transaction((tx) => database.queryable(tx).query(ours, []))).rows).toEqual([
      { message_id: 1 },
    ])
    const theirs = await database.transaction((tx) => sql`select 1 as message_id`.execute(database.guard(tx).tx))
    expect(theirs.rows).toEqual([{ messageId: 1 }])
  })

  test('behind a pooler abandon() ends the transaction that was meant', async () => {
    await using between = await pooler(scratch.url)
    await using b = bench({ connectionString: between.url })
    const begun = Promise.withResolvers<Transaction<Schema>>()
    const work = b.database.transaction(async (tx) => {
      begun.resolve(tx)
      await sql`insert into effect select 'zombie' from pg_sleep(30)`.execute(tx)
    })
    work.catch(() => {})
    await b.database.abandon(await begun.promise)
    const left = await scratch.pool.query(
      `select from pg_stat_activity where query like '%''zombie''%' and state <> 'idle'`,
    )
    expect(left.rowCount).toBe(1) // this question itself
    await expect(work).rejects.toMatchObject({ code: 'TRANSACTION_OVER' })
  })

  test('a transaction asks for its server process once per connection, when the pool is known', async () => {
    await using b = bench()
    const asked: string[] = []
    const db = new Kysely<Schema>({
      dialect: new PostgresDialect({ pool: b.pool }),
      log: ({ query }) => void asked.push(query.sql),
    })
    const database = kyselyDatabase(db, { pool: b.pool })
    for (let n = 0; n < 3; n++) await database.transaction(async () => {})
    expect(asked.filter((text) => text.includes('pg_backend_pid'))).toHaveLength(1)
  })

  test('without pool, url or environment there is no session, and the reason says what to pass', async () => {
    await using b = bench()
    for (const name of ['DATABASE_URL', 'PGHOST', 'PGDATABASE']) vi.stubEnv(name, '')
    const answer = await kyselyDatabase(b.db).session!({ applicationName: 'test' })
    expect(answer).toMatchObject({ unavailable: expect.stringMatching(/\{ pool \}.*listenUrl/) })
  })

  test('an environment that leads to another database is not listened to', async () => {
    await using b = bench()
    await using elsewhere = await createDatabase()
    vi.stubEnv('DATABASE_URL', elsewhere.url)
    const answer = await kyselyDatabase(b.db).session!({ applicationName: 'test' })
    expect(answer).toMatchObject({ unavailable: expect.stringContaining('another database') })
  })

  test('an environment that proves to lead to this database is used', async () => {
    await using b = bench()
    vi.stubEnv('DATABASE_URL', scratch.url)
    await using session = await sessionOf(kyselyDatabase(b.db))
    expect(session.pid).toBeGreaterThan(0)
  })
})
