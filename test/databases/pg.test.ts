import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pgDatabase } from '../../src/databases/pg.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { pooler } from '../support/pooler.ts'
import { firstLine, spawnScript, within } from '../support/process.ts'
import { proxyBefore } from '../support/proxy.ts'
import { promisesOfADatabase, sessionOf } from './conformance.ts'

const adapter = {
  open: pgDatabase<pg.PoolClient>,
  sql: async (tx: pg.PoolClient, text: string) => (await tx.query(text)).rows,
}

promisesOfADatabase<pg.PoolClient>('pgDatabase', adapter)

promisesOfADatabase<pg.PoolClient>('pgDatabase with pipelined clients', {
  ...adapter,
  pool: { pipeline: true },
  sendsAhead: true,
})

describe('pgDatabase', () => {
  let scratch: TestDatabase

  beforeAll(async () => {
    scratch = await createDatabase()
    await scratch.pool.query('create table effect (note text)')
  })
  afterAll(() => scratch.drop())

  const bench = (config: pg.PoolConfig = {}) => {
    const pool = new pg.Pool({ connectionString: scratch.url, max: 1, ...config })
    return { pool, database: pgDatabase(pool), [Symbol.asyncDispose]: () => pool.end() }
  }
  const prepared = `select name from pg_prepared_statements where name like 'posthaste%'`

  test('a named statement is prepared once, on a connection with a server process of its own', async () => {
    await using b = bench()
    for (let n = 0; n < 3; n++) await b.database.query('select $1::int', [n], { name: 'number' })
    await b.database.transaction(async (tx) => {
      await b.database.queryable(tx).query('select $1::int', [4], { name: 'number' })
      await b.database.queryable(tx).query('select $1::int + 1', [4], { name: 'number' })
    })
    expect((await b.pool.query(prepared)).rowCount).toBe(2)
  })

  test('through a pooler, or when it was asked not to, nothing is prepared', async () => {
    await using between = await pooler(scratch.url)
    await using pooled = bench({ connectionString: between.url })
    await using plain = bench()
    const unprepared = pgDatabase(plain.pool, { prepare: false })
    for (const [{ pool }, database] of [
      [pooled, pooled.database],
      [plain, unprepared],
    ] as const) {
      await database.query('select $1::int', [1], { name: 'number' })
      await database.transaction((tx) => database.queryable(tx).query('select $1::int', [1], { name: 'number' }))
      expect((await pool.query(prepared)).rowCount).toBe(0)
    }
  })

  test('where the pool limits the time of queries, a prepared one that was answered leaves no timer', async () => {
    await using b = bench({ query_timeout: 60_000 })
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    await b.database.query('select 1', [], { name: 'one' })
    const before = timers()
    for (let n = 0; n < 20; n++) await b.database.query('select 1', [], { name: 'one' })
    for (let n = 0; n < 20; n++) await b.database.query('select 1 / 0', [], { name: 'none' }).catch(() => {})
    expect(timers() - before).toBeLessThan(10)
  })

  test('a prepared query that takes longer than the pool allows rejects', async () => {
    await using b = bench({ query_timeout: 100 })
    const late = b.database.query('select pg_sleep(0.5)', [], { name: 'late' })
    await expect(late).rejects.toThrow('Query read timeout')
  })

  test('a migration under a prepared statement costs one connection, once', async () => {
    await using b = bench()
    await b.pool.query('create table shape (a int)')
    const select = () => b.database.query('select * from shape', [], { name: 'shape' })
    await select()
    await scratch.pool.query('alter table shape add column b int')
    await expect(select()).rejects.toMatchObject({ code: '0A000' })
    await select()
  })

  test('a pool that ends under somebody who waits for a connection keeps no process from ending', async () => {
    const child = spawnScript(
      `import pg from 'pg'
       import { pgDatabase } from './src/index.ts'
       const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
       const database = pgDatabase(pool)
       await database.query('select 1', [])
       void database.query('select 2', []).catch(() => {})
       await pool.end()
       console.log('over')`,
      { env: { ...process.env, DATABASE_URL: scratch.url } },
    )
    expect(await firstLine(child)).toBe('over')
    await within(5_000, () => child.exitCode === 0)
  })

  test('a connection that is terminated as soon as it is there rejects what is asked, and ends no process', async () => {
    await using proxy = await proxyBefore(scratch.url)
    proxy.terminateNext()
    const child = spawnScript(
      `import pg from 'pg'
       import { pgDatabase } from './src/index.ts'
       const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
       const database = pgDatabase(pool)
       const rejected = await database.query('select 1 as one', []).then(() => false, () => true)
       const { rows } = await database.query('select 1 as one', [])
       await pool.end()
       console.log(JSON.stringify({ rejected, rows }))`,
      { env: { ...process.env, DATABASE_URL: proxy.url } },
    )
    expect(JSON.parse(await firstLine(child))).toEqual({ rejected: true, rows: [{ one: 1 }] })
    await within(5_000, () => child.exitCode === 0)
  })

  test('behind a pooler there is no session, and the reason says what to pass', async () => {
    await using between = await pooler(scratch.url)
    await using b = bench({ connectionString: between.url })
    expect(await b.database.session!({ applicationName: 'test' })).toMatchObject({
      unavailable: expect.stringContaining('listenUrl'),
    })
    await using session = await sessionOf(b.database, scratch.url)
    expect(session.pid).toBeGreaterThan(0)
  })

  test('behind a pooler abandon() ends the transaction that was meant', async () => {
    await using between = await pooler(scratch.url)
    await using b = bench({ connectionString: between.url })
    const begun = Promise.withResolvers<pg.PoolClient>()
    const work = b.database.transaction(async (tx) => {
      begun.resolve(tx)
      await tx.query(`insert into effect select 'zombie' from pg_sleep(30)`)
    })
    work.catch(() => {})
    await b.database.abandon(await begun.promise)
    const left = await scratch.pool.query(
      `select from pg_stat_activity where query like '%''zombie''%' and state <> 'idle'`,
    )
    expect(left.rowCount).toBe(1) // this question itself
    await expect(work).rejects.toMatchObject({ code: 'TRANSACTION_OVER' })
  })

  test('a client that comes out of the pool inside somebody’s transaction is not used', async () => {
    await using b = bench()
    const leaky = await b.pool.connect()
    await leaky.query('begin')
    leaky.release()
    await b.database.query(`insert into effect values ('committed')`, [])
    const { rows } = await scratch.pool.query(`select note from effect where note = 'committed'`)
    expect(rows).toEqual([{ note: 'committed' }])
  })

  test('a session has the pool’s password, which the pool hides, and its TLS options', async () => {
    const { username, password, hostname, port, pathname } = new URL(scratch.url)
    const login = {
      user: decodeURIComponent(username),
      host: hostname,
      port: Number(port),
      database: pathname.slice(1),
    }
    await using b = bench({
      ...login,
      connectionString: undefined,
      password: () => decodeURIComponent(password),
      ssl: false,
    })
    await using session = await sessionOf(b.database)
    expect((await session.query('select 1 as one', [])).rows).toEqual([{ one: 1 }])
  })

  test('timeouts of the server and of the pool do not cut a session’s wait for a lock', async () => {
    await using b = bench({ statement_timeout: 50, lock_timeout: 50, query_timeout: 50 })
    await using session = await sessionOf(b.database)
    await session.query('select pg_sleep(0.2)', [])
  })

  test('a guarded client can be used in each of pg’s ways', async () => {
    await using b = bench()
    await b.database.transaction(async (raw) => {
      const { tx, revoke } = b.database.guard(raw)
      expect(tx).toBeInstanceOf(pg.Client)
      expect(tx.escapeIdentifier('a"b')).toBe('"a""b"')
      expect((await tx.query('select $1::int as a', [1])).rows).toEqual([{ a: 1 }])
      expect((await tx.query({ text: 'select $1::int as a', values: [2], rowMode: 'array' })).rows).toEqual([[2]])
      expect(await called((done) => tx.query('select 3 as a', [], done))).toEqual([{ a: 3 }])
      expect(await called((done) => tx.query(new pg.Query('select 4 as a', done as never)))).toEqual([{ a: 4 }])
      await expect(called((done) => tx.query('commit', [], done))).rejects.toMatchObject({
        code: 'TRANSACTION_CONTROL_REFUSED',
      })
      expect(() => tx.query(new pg.Query('rollback'))).toThrow('Cannot run "ROLLBACK"')
      expect(() => tx.release()).toThrow('Cannot run "release"')
      expect(() => tx.end()).toThrow('Cannot run "end"')
      revoke()
      await expect(called((done) => tx.query('select 3', [], done))).rejects.toMatchObject({ code: 'TRANSACTION_OVER' })
      expect(() => tx.query(new pg.Query('select 4'))).toThrow('is over')
    })
  })

  test('a handler’s many statements at once draw no warning from pg', async () => {
    await using b = bench()
    const warnings: string[] = []
    const note = ({ message }: Error) => warnings.push(message)
    process.on('warning', note)
    await b.database.transaction(async (raw) => {
      const { tx } = b.database.guard(raw)
      const both = [1, 2, 3, 4].flatMap((n) => [
        tx.query('select $1::int', [n]),
        b.database.queryable(raw).query('select 1', []),
      ])
      await Promise.all(both)
    })
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', note)
    expect(warnings).toEqual([])
  })

  test('an unknown option is told with the one that was meant', () => {
    expect(() => pgDatabase(scratch.pool, { deadlinMs: 1 } as object)).toThrow('did you mean "deadlineMs"?')
  })
})

function called(call: (done: (error: Error, result: pg.QueryResult) => void) => void): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    call((error, result) => (error ? reject(error) : resolve(result.rows)))
  })
}
