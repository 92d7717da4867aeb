import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Database, Session } from '../../src/database.ts'
import { runLast, run as runQuery } from '../../src/postgres/queryable.ts'
import { hasCode, isConnectionLoss } from '../../src/rules/error-summary.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { run } from '../support/server.ts'
import { until } from '../support/until.ts'

/** What the suite needs of an adapter: how it is opened over a pool, and how a handler writes SQL with its transaction. */
export interface Adapter<Tx, Pool extends ConformancePool = pg.Pool> {
  open(pool: Pool, options?: { deadlineMs?: number }): Database<Tx>
  /** A statement as its user would write it, rows back. */
  sql(tx: Tx, text: string): Promise<Record<string, unknown>[]>
  /** Options of the pool it is to work with. */
  readonly pool?: pg.PoolConfig
  /** What it has in place of `pg`'s own pool. */
  readonly makePool?: (config: pg.PoolConfig) => Pool
  /** What is queued is on its way to the server already. */
  readonly sendsAhead?: boolean
}

/** What the suite asks of a pool. */
export interface ConformancePool {
  connect(): Promise<{ release(): void }>
  end(): Promise<void>
  readonly totalCount: number
  readonly idleCount: number
}

interface Bench<Tx> {
  readonly database: Database<Tx>
  readonly pool: ConformancePool
  [Symbol.asyncDispose](): Promise<void>
}

/** What every `Database` promises. */
export function promisesOfADatabase<Tx, Pool extends ConformancePool = pg.Pool>(
  name: string,
  { open, sql, pool: config, makePool = (options) => new pg.Pool(options) as never, sendsAhead }: Adapter<Tx, Pool>,
): void {
  describe(name, () => {
    let scratch: TestDatabase

    beforeAll(async () => {
      scratch = await createDatabase()
      await scratch.pool.query(`
        create table effect (note text, unique (note) deferrable initially deferred);
        create table parent (id int primary key)`)
    })
    afterAll(() => scratch.drop())
    beforeEach(async () => {
      await scratch.pool.query('truncate effect, parent')
    })

    const bench = (options?: { deadlineMs?: number; max?: number }): Bench<Tx> => {
      const pool = makePool({ ...config, connectionString: scratch.url, max: options?.max ?? 5 })
      const { max: _, ...rest } = options ?? {}
      return { pool, database: open(pool, rest), [Symbol.asyncDispose]: () => pool.end() }
    }
    const notes = async () => (await scratch.pool.query('select note from effect order by note')).rows.map(noteOf)
    const pidOf = async (tx: Tx) => Number((await sql(tx, 'select pg_backend_pid() as pid'))[0]!.pid)
    const lives = async (pid: number) =>
      (await scratch.pool.query('select from pg_stat_activity where pid = $1', [pid])).rowCount === 1
    const running = (text: string) =>
      until(async () => {
        const sleeping = `select from pg_stat_activity where query like $1 and wait_event = 'PgSleep'`
        return (await scratch.pool.query(sleeping, [`%${text}%`])).rowCount === 1
      })
    const terminate = async (pid: number) => {
      await scratch.pool.query('select pg_terminate_backend($1)', [pid])
      await until(async () => !(await lives(pid)))
    }

    test('what the work wrote is there once transaction() has resolved, with what it returned', async () => {
      await using b = bench()
      const answer = await b.database.transaction(async (tx) => {
        await sql(tx, `insert into effect values ('by the user')`)
        await b.database.queryable(tx).query('insert into effect values ($1)', ['by us'])
        return 42
      })
      expect(answer).toBe(42)
      expect(await notes()).toEqual(['by the user', 'by us'])
    })

    test('work that throws leaves nothing, and its own error is what the caller gets', async () => {
      await using b = bench()
      const error = new Error('no stock')
      const work = b.database.transaction(async (tx) => {
        await sql(tx, `insert into effect values ('gone')`)
        throw error
      })
      await expect(work).rejects.toBe(error)
      expect(await notes()).toEqual([])
    })

    test('a server whose default is repeatable read does not change our READ COMMITTED', async () => {
      await using own = await createDatabase()
      const database = new URL(own.url).pathname.slice(1)
      await run(own.url, `alter database ${database} set default_transaction_isolation = 'repeatable read'`)
      const pool = makePool({ connectionString: own.url })
      const [row] = await open(pool).transaction((tx) => sql(tx, 'show transaction_isolation'))
      await pool.end()
      expect(row).toEqual({ transaction_isolation: 'read committed' })
    })

    test('a swallowed SQL error, whose COMMIT answers ROLLBACK, is a TransactionRolledBack', async () => {
      await using b = bench()
      const work = b.database.transaction(async (tx) => {
        await sql(tx, `insert into effect values ('lost')`)
        await sql(tx, 'select 1 / 0').catch(() => {})
      })
      await expect(work).rejects.toMatchObject({ code: 'TRANSACTION_ROLLED_BACK' })
      expect(await notes()).toEqual([])
      expect(await b.database.transaction((tx) => sql(tx, 'select 1 as one'))).toEqual([{ one: 1 }])
    })

    test('a constraint that COMMIT refuses is told as Postgres told it', async () => {
      await using b = bench()
      const work = b.database.transaction((tx) => sql(tx, `insert into effect values ('twice'), ('twice')`))
      await expect(work).rejects.toMatchObject({ code: '23505' })
      expect(await notes()).toEqual([])
    })

    test('the work’s error is what the caller gets, even if ROLLBACK fails, and the connection is not used again', async () => {
      await using b = bench({ max: 1 })
      const error = new Error('the work’s own')
      let pid = 0
      const work = b.database.transaction(async (tx) => {
        pid = await pidOf(tx)
        await terminate(pid)
        throw error
      })
      await expect(work).rejects.toBe(error)
      expect(await b.database.transaction(pidOf)).not.toBe(pid)
    })

    test('a connection that is gone at COMMIT leaves the outcome unknown', async () => {
      await using b = bench({ max: 1 })
      const work = b.database.transaction(async (tx) => {
        await sql(tx, `insert into effect values ('maybe')`)
        await terminate(await pidOf(tx))
      })
      await expect(work).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
      expect(await b.database.query('select 1 as one', [])).toMatchObject({ rows: [{ one: 1 }] })
    })

    describe('a transaction that begins and ends with statements of ours', () => {
      const INSERT = { name: 'insert', text: 'insert into effect values ($1) returning note' }
      const first = { beginsWithQuery: true }

      // The first time a connection learns the statements, then it knows them.
      test('is one transaction, READ COMMITTED, from the first to the last', async () => {
        await using b = bench({ max: 1 })
        for (const n of [1, 2, 3]) {
          const [own, last] = await b.database.transaction(async (tx) => {
            const on = b.database.queryable(tx)
            const [begun] = await runQuery(on, { ...INSERT, values: [`first ${n}`] })
            const [level] = await sql(tx, 'show transaction_isolation')
            expect(level).toEqual({ transaction_isolation: 'read committed' })
            await sql(tx, `insert into effect values ('handler ${n}')`)
            const [ended] = await runLast(on, { ...INSERT, values: [`last ${n}`] })
            return [begun, ended]
          }, first)
          expect([own, last]).toEqual([{ note: `first ${n}` }, { note: `last ${n}` }])
        }
        const expected = ['first', 'handler', 'last'].flatMap((word) => [1, 2, 3].map((n) => `${word} ${n}`))
        expect(await notes()).toEqual(expected)
      })

      test('leaves nothing when its work throws, or sends nothing', async () => {
        await using b = bench({ max: 1 })
        await b.database.transaction(async () => {})
        for (let n = 0; n < 3; n += 1) {
          await b.database.transaction(async () => {}, first)
          const work = b.database.transaction(async (tx) => {
            await runQuery(b.database.queryable(tx), { ...INSERT, values: ['lost'] })
            throw new Error('the work’s own')
          }, first)
          await expect(work).rejects.toThrow('the work’s own')
        }
        expect(await notes()).toEqual([])
      })

      test('commits nothing when its last statement is refused, be it that an error was swallowed', async () => {
        await using b = bench({ max: 1 })
        for (let n = 0; n < 3; n += 1) {
          const work = b.database.transaction(async (tx) => {
            const on = b.database.queryable(tx)
            await runQuery(on, { ...INSERT, values: ['lost'] })
            await sql(tx, 'select 1 / 0').catch(() => {})
            await runLast(on, { ...INSERT, values: ['lost too'] })
          }, first)
          await expect(work).rejects.toSatisfy((error) => hasCode(error, '25P02'))
        }
        expect(await notes()).toEqual([])
      })

      test('goes on after a last statement that was refused, and may still be committed', async () => {
        await using b = bench({ max: 1 })
        for (let n = 0; n < 3; n += 1) {
          await b.database.transaction(async (tx) => {
            const on = b.database.queryable(tx)
            await runQuery(on, { ...INSERT, values: [`kept ${n}`] })
            await on.query('savepoint here', [])
            await expect(runLast(on, { name: 'fail', text: 'select 1 / $1::int', values: [0] })).rejects.toThrow()
            await on.query('rollback to savepoint here', [])
            await runLast(on, { ...INSERT, values: [`last ${n}`] })
          }, first)
        }
        expect(await notes()).toEqual(['kept 0', 'kept 1', 'kept 2', 'last 0', 'last 1', 'last 2'])
      })

      test('is told as Postgres told it when COMMIT refuses a constraint', async () => {
        await using b = bench({ max: 1 })
        for (let n = 0; n < 2; n += 1) {
          const work = b.database.transaction(async (tx) => {
            const on = b.database.queryable(tx)
            await runQuery(on, { ...INSERT, values: ['twice'] })
            await runLast(on, { ...INSERT, values: ['twice'] })
          }, first)
          await expect(work).rejects.toSatisfy((error) => hasCode(error, '23505'))
        }
        expect(await notes()).toEqual([])
      })

      test('has an unknown outcome when the connection is gone at its end', async () => {
        await using b = bench({ max: 1 })
        await b.database.transaction(pidOf)
        const work = b.database.transaction(async (tx) => {
          const on = b.database.queryable(tx)
          await runQuery(on, { ...INSERT, values: ['maybe'] })
          await terminate(await pidOf(tx))
          await runLast(on, { ...INSERT, values: ['perhaps'] })
        }, first)
        await expect(work).rejects.toSatisfy((error) => hasCode(error, 'COMMIT_UNKNOWN') || isConnectionLoss(error))
        expect(await notes()).toEqual([])
      })

      test('whose first statement fails costs no connection, and the next one runs', async () => {
        await using b = bench({ max: 1 })
        const divide = (by: number) =>
          b.database.transaction(
            async (tx) =>
              await runQuery(b.database.queryable(tx), { name: 'over', text: 'select 6 / $1::int as n', values: [by] }),
            first,
          )
        await divide(1)
        const pid = await b.database.transaction(pidOf)
        for (let n = 0; n < 2; n += 1) {
          await expect(divide(0)).rejects.toSatisfy((error) => hasCode(error, '22012'))
          expect(await divide(2)).toEqual([{ n: 3 }])
        }
        expect(await b.database.transaction(pidOf)).toBe(pid)
      })
    })

    test('a connection that dies idle in the pool is replaced, and harms nobody', async () => {
      await using b = bench({ max: 1 })
      const { rows } = await b.database.query('select pg_backend_pid() as pid', [])
      await terminate(Number(rows[0]!.pid))
      await until(() => b.pool.totalCount === 0)
      expect(await b.database.query('select 1 as one', [])).toMatchObject({ rows: [{ one: 1 }] })
    })

    test('query() commits by itself', async () => {
      await using b = bench()
      const { rows } = await b.database.query('insert into effect values ($1) returning note', ['alone'])
      expect(rows).toEqual([{ note: 'alone' }])
      expect(await notes()).toEqual(['alone'])
    })

    test('query() rejects at its deadline, and the connection is destroyed', async () => {
      await using b = bench({ deadlineMs: 500, max: 1 })
      const { rows } = await b.database.query('select pg_backend_pid() as pid', [])
      const late = b.database.query('select pg_sleep(5)', [])
      await expect(late).rejects.toMatchObject({ code: 'STATEMENT_TIMED_OUT', timeoutMs: 500 })
      const next = await b.database.query('select pg_backend_pid() as pid', [])
      expect(next.rows[0]!.pid).not.toBe(rows[0]!.pid)
    })

    test('our statement in a transaction rejects at its deadline, and the connection is destroyed', async () => {
      await using b = bench({ deadlineMs: 500, max: 1 })
      let pid = 0
      const work = b.database.transaction(async (tx) => {
        pid = await pidOf(tx)
        await b.database.queryable(tx).query(`insert into effect select 'late' from pg_sleep(1)`, [])
      })
      await expect(work).rejects.toMatchObject({ code: 'STATEMENT_TIMED_OUT' })
      expect(await b.database.transaction(pidOf)).not.toBe(pid)
      await until(async () => !(await lives(pid)))
      expect(await notes()).toEqual([])
    })

    test('a pool that gives no connection is not waited for without end', async () => {
      await using b = bench({ deadlineMs: 100, max: 1 })
      const held = await b.pool.connect()
      let worked = false
      const work = b.database.transaction(async () => (worked = true))
      await expect(work).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
      const statement = b.database.query(`insert into effect values ('late')`, [])
      await expect(statement).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
      held.release()
      expect(await b.database.transaction(async () => 'served')).toBe('served')
      expect(b.pool.idleCount).toBe(1)
      expect(worked).toBe(false)
      expect(await notes()).toEqual([])
    })

    test('a server that has become read-only loses its connections', async () => {
      await using b = bench({ max: 1 })
      const demote = 'set session characteristics as transaction read only'
      const write = `insert into effect values ('written')`
      await b.database.query(demote, [])
      await expect(b.database.query(write, [])).rejects.toMatchObject({ code: '25006' })
      await b.database.query(demote, [])
      await expect(b.database.transaction((tx) => sql(tx, write))).rejects.toMatchObject({ code: '25006' })
      await b.database.query(write, [])
      expect(await notes()).toEqual(['written'])
    })

    test('a database that cannot be reached is named, without its password', async () => {
      const pool = makePool({ connectionString: 'postgres://someone:hunter2@127.0.0.1:1/shop' })
      const failure = await open(pool)
        .transaction(pidOf)
        .catch((error) => error)
      expect(failure).toMatchObject({ code: 'DATABASE_UNREACHABLE' })
      expect(failure.message).not.toContain('hunter2')
      await pool.end()
    })

    test('a guarded transaction can do everything', async () => {
      await using b = bench()
      await b.database.transaction(async (raw) => {
        const { tx } = b.database.guard(raw)
        await sql(tx, `insert into effect values ('kept')`)
        await sql(tx, 'savepoint here')
        await sql(tx, `insert into effect values ('taken back')`)
        await sql(tx, 'rollback to savepoint here')
        await sql(tx, 'release savepoint here')
        await sql(tx, `insert into effect select case when true then 'begin; commit; end' end`)
        await sql(tx, 'do $$ begin perform 1; end $$')
        await sql(tx, `/* commit; */ insert into effect values ('$a$') -- ; rollback`)
      })
      expect(await notes()).toEqual(['$a$', 'begin; commit; end', 'kept'])
    })

    test.each([
      ['begin', 'BEGIN'],
      ['Commit', 'COMMIT'],
      [' rollback', 'ROLLBACK'],
      ['end', 'END'],
      ['abort', 'ABORT'],
      ['start  transaction', 'START TRANSACTION'],
      [`prepare transaction 'two'`, 'PREPARE TRANSACTION'],
      ['-- innocent\ncommit and chain', 'COMMIT'],
      [`select ';'; /* ; */ commit`, 'COMMIT'],
      [`select $q$ ' $q$; rollback`, 'ROLLBACK'],
    ])('a handler is refused %j', async (text, statement) => {
      await using b = bench()
      await b.database.transaction(async (raw) => {
        const { tx } = b.database.guard(raw)
        await sql(tx, `insert into effect values ('kept')`)
        await expect(sql(tx, text)).rejects.toMatchObject({
          code: 'TRANSACTION_CONTROL_REFUSED',
          message: expect.stringContaining(`Cannot run "${statement}"`),
        })
      })
      expect(await notes()).toEqual(['kept'])
    })

    test('a revoked transaction runs nothing', async () => {
      await using b = bench()
      await b.database.transaction(async (raw) => {
        const { tx, revoke } = b.database.guard(raw)
        await sql(tx, `insert into effect values ('before')`)
        revoke()
        await expect(sql(tx, `insert into effect values ('after')`)).rejects.toMatchObject({ code: 'TRANSACTION_OVER' })
        await b.database.queryable(raw).query(`insert into effect values ('ours')`, [])
      })
      expect(await notes()).toEqual(['before', 'ours'])
    })

    if (!sendsAhead)
      test('what was queued when a transaction was revoked does not run either', async () => {
        await using b = bench()
        await b.database.transaction(async (raw) => {
          const { tx, revoke } = b.database.guard(raw)
          const first = sql(tx, `insert into effect select 'under way' from pg_sleep(0.1)`)
          const queued = sql(tx, `insert into effect values ('queued')`)
          queued.catch(() => {})
          await running('under way')
          revoke()
          await first
          await expect(queued).rejects.toMatchObject({ code: 'TRANSACTION_OVER' })
        })
        expect(await notes()).toEqual(['under way'])
      })

    test('what a handler did not wait for runs before COMMIT or not at all', async () => {
      await using b = bench({ max: 1 })
      let left: Promise<unknown> = Promise.resolve()
      const xid = await b.database.transaction(async (raw) => {
        const { tx } = b.database.guard(raw)
        const insert = (n: number) =>
          sql(tx, `insert into effect select ${n} || ' in ' || txid_current() from pg_sleep(0.01)`)
        const [row] = await sql(tx, 'select txid_current() as xid')
        const goOn = async () => {
          for (let n = 10; n < 60; n++) await insert(n)
        }
        left = Promise.allSettled([...[1, 2, 3, 4, 5].map(insert), goOn()])
        return row!.xid
      })
      await left
      for (const note of await notes()) expect(note).toMatch(new RegExp(` in ${xid}$`))
    })

    test('after abandon() nothing that a handler goes on to write takes effect, ever', async () => {
      await using b = bench({ max: 2 })
      const stop = new AbortController()
      const begun = Promise.withResolvers<{ raw: Tx; pid: number }>()
      let zombie: Promise<unknown> = Promise.resolve()
      const work = b.database.transaction((raw) => {
        const { tx } = b.database.guard(raw)
        zombie = (async () => {
          begun.resolve({ raw, pid: await pidOf(tx) })
          await sql(tx, `insert into effect select 'in flight' from pg_sleep(30)`).catch(() => {})
          while (!stop.signal.aborted) {
            await sql(tx, `insert into effect values ('zombie')`).catch(() => {})
            await sql(raw, `insert into effect values ('zombie')`).catch(() => {})
            await new Promise((resolve) => setImmediate(resolve))
          }
        })()
        return zombie
      })
      work.catch(() => {})
      const { raw, pid } = await begun.promise
      await running('in flight')

      await b.database.abandon(raw)

      expect(await lives(pid)).toBe(false)
      await expect(work).rejects.toMatchObject({ code: 'TRANSACTION_OVER' })
      for (let n = 0; n < 20; n++) await b.database.transaction((tx) => sql(tx, `insert into parent values (${n})`))
      stop.abort()
      await zombie
      expect(await notes()).toEqual([])
    })

    test('abandon() frees its place in the pool, and after the transaction’s end it does nothing', async () => {
      await using b = bench({ max: 1 })
      const begun = Promise.withResolvers<Tx>()
      const work = b.database.transaction((raw) => {
        begun.resolve(raw)
        return new Promise(() => {})
      })
      work.catch(() => {})
      await b.database.abandon(await begun.promise)
      const ended: Tx[] = []
      const pid = await b.database.transaction(async (raw) => {
        ended.push(raw, b.database.guard(raw).tx)
        return pidOf(raw)
      })
      for (const tx of ended) await b.database.abandon(tx)
      expect(await b.database.transaction(pidOf)).toBe(pid)
    })

    test('a session listens, beside a pool that is used up', async () => {
      await using b = bench({ max: 1 })
      await using session = await sessionOf(b.database)
      const heard: string[] = []
      session.onNotification((channel) => heard.push(channel))
      await session.query('listen posthaste_test', [])
      const held = await b.pool.connect()
      await scratch.pool.query('notify posthaste_test')
      await until(() => heard.length > 0)
      held.release()
      expect(heard).toEqual(['posthaste_test'])
      const named = await scratch.pool.query('select application_name from pg_stat_activity where pid = $1', [
        session.pid,
      ])
      expect(named.rows).toEqual([{ application_name: 'posthaste test' }])
    })

    test('a session’s statements have a deadline, and a wait for a lock may have none', async () => {
      await using b = bench({ deadlineMs: 100 })
      await using holder = await sessionOf(b.database)
      const waiter = await sessionOf(b.database)
      const lost = new Promise((resolve) => waiter.onLost(resolve))
      await holder.query('select pg_advisory_lock(7)', [])
      const waiting = waiter.query('select pg_advisory_lock(7)', [], { deadlineMs: null })
      const blocked = () =>
        scratch.pool.query(
          `select from pg_stat_activity where pid = ${waiter.pid} and wait_event = 'advisory' and now() - query_start > '200 ms'`,
        )
      await until(async () => (await blocked()).rowCount === 1)
      await holder.query('select pg_advisory_unlock(7)', [])
      await waiting

      await expect(waiter.query('select pg_sleep(5)', [])).rejects.toMatchObject({ code: 'STATEMENT_TIMED_OUT' })
      expect(await lost).toMatchObject({ code: 'CONNECTION_LOST' })
      await waiter.close()
    })

    test('a session that is lost says so once, and one that is closed says nothing', async () => {
      await using b = bench()
      const closed = await sessionOf(b.database)
      const terminated = await sessionOf(b.database)
      const losses: string[] = []
      closed.onLost(() => losses.push('closed'))
      terminated.onLost(() => losses.push('terminated'))
      const waiting = terminated.query('select pg_sleep(60)', [], { deadlineMs: null })
      const goodbye = closed.query('select pg_sleep(60)', [], { deadlineMs: null })
      goodbye.catch(() => {})
      await closed.close()
      await expect(goodbye).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
      await Promise.all([expect(waiting).rejects.toThrow(), terminate(terminated.pid)])
      await until(() => losses.length > 0)
      expect(losses).toEqual(['terminated'])
      await expect(terminated.query('select 1', [])).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
      await terminated.close()
    })

    test('a session by url is refused when it leads to another database', async () => {
      await using b = bench()
      await using elsewhere = await createDatabase()
      const refused = await b.database.session!({ applicationName: 'posthaste test', url: elsewhere.url })
      expect(refused).toMatchObject({ unavailable: expect.stringContaining('another database') })
      await using same = await sessionOf(b.database, scratch.url)
      expect(await same.query('select 1 as one', [])).toMatchObject({ rows: [{ one: 1 }] })
    })
  })
}

/** A session, or the reason why there is none as an error. */
export async function sessionOf<Tx>(database: Database<Tx>, url?: string): Promise<Session> {
  const session = await database.session!({ applicationName: 'posthaste test', ...(url && { url }) })
  if ('unavailable' in session) throw new Error(session.unavailable)
  return session
}

const noteOf = ({ note }: { note: string }) => note
