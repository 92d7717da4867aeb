import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from 'pg'
import { migrate } from '../postgres/migrate.ts'
import { tablesOf } from '../postgres/tables.ts'
import { movableClock } from '../postgres/test-time.ts'
import { DatabaseClock } from './clock.ts'

/** Which server a test database is made on, and what is in it. */
export interface TestDatabaseOptions {
  /**
   * A server on which databases may be created, as a connection string to any database of it.
   * @default POSTHASTE_TEST_URL, then TEST_DATABASE_URL, then an embedded PostgreSQL of this process
   */
  readonly url?: string | undefined
  /** The schema that holds everything. @default 'posthaste' */
  readonly schema?: string
  /** Makes the template what your tests begin with: your own tables, what every test needs. Called once per run. */
  readonly prepare?: (url: string) => unknown
  /** Tells templates with the same `prepare` apart. @default '' */
  readonly template?: string
  /** Whether `clock` can be moved. @default true */
  readonly movableClock?: boolean
}

/** A migrated database of a test's own. */
export interface TestDatabase extends AsyncDisposable {
  readonly url: string
  /** Ends with `drop()`. */
  readonly pool: Pool
  readonly clock: DatabaseClock
  /** Ends the pool and drops the database, whoever else is still connected. Twice is once. */
  drop(): Promise<void>
}

/**
 * A database of a test's own, with the schema of this release, in some 30 ms: a copy of a template that is made once per run.
 *
 * The server is the one you name, or one that is started with the first call and ends with the process; `posthaste/testing/setup`
 * starts one for all processes of a run, and drops everything at its end.
 *
 * ```ts
 * await using database = await createTestDatabase({ prepare: (url) => createMyTables(url) })
 * const posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
 * ```
 */
export async function createTestDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const server = await serverOf(options.url)
  const template = await server.templateOf(options)
  const name = `${server.run}_${process.pid}_${randomBytes(4).toString('hex')}`
  await server.create(name, template)
  const url = urlOf(server.url, name)
  const pool = await openPool(url)
  const queryable = { query: (text: string, values: readonly unknown[]) => pool.query(text, [...values]) }
  let dropped: Promise<void> | undefined
  const drop = () => {
    dropped ??= pool.end().then(() => server.drop(name))
    return dropped
  }
  const clock = new DatabaseClock(queryable, tablesOf(options.schema ?? 'posthaste'))
  return { url, pool, clock, drop, [Symbol.asyncDispose]: drop }
}

/** Drops every database of a run. */
export async function dropRun(url: string, run: string): Promise<void> {
  const server = new Server(url, run)
  await server.dropAll(run)
  await server.close()
}

/** The name of a run, by which its databases begin; it tells when it began, so that what a crashed run has left can be told. */
export function newRun(): string {
  const seconds = Math.floor(Date.now() / 1_000).toString(36)
  return `${PREFIX}${seconds}_${randomBytes(3).toString('hex')}`
}

/** The variables by which the processes of a run know of its server. */
export const TEST_URL = 'POSTHASTE_TEST_URL'
export const TEST_RUN = 'POSTHASTE_TEST_RUN'

/** An embedded server for tests. Its processes are killed, its machine is not: nothing needs to reach a disk. */
export const TEST_SERVER = Object.freeze({
  inMemory: true,
  settings: Object.freeze({
    max_connections: 300,
    fsync: 'off',
    full_page_writes: 'off',
    synchronous_commit: 'off',
    max_wal_size: '256MB',
  }),
})

const PREFIX = 'posthaste_test_'
const STALE_S = 86_400
const TEMPLATE_LOCK = 1_886_349_417
const TRIES = 50

const servers = new Map<string, Promise<Server>>()

function serverOf(url: string | undefined): Promise<Server> {
  const named = url ?? process.env[TEST_URL] ?? process.env.TEST_DATABASE_URL
  const key = named ?? 'embedded'
  const known = servers.get(key)
  if (known) return known
  const run = process.env[TEST_RUN] ?? newRun()
  const opened = named === undefined ? embedded(run) : Promise.resolve(new Server(named, run))
  servers.set(key, opened)
  opened.catch(() => servers.delete(key))
  return opened
}

async function embedded(run: string): Promise<Server> {
  const { startEmbeddedPostgres } = await import('../embedded/index.ts')
  const { url } = await startEmbeddedPostgres(TEST_SERVER)
  return new Server(url, run)
}

/** A server on which this run makes databases; its connection does not keep a process from ending. */
class Server {
  readonly url: string
  readonly run: string
  readonly #templates = new Map<string, Promise<string>>()
  #pool: Promise<Pool> | undefined
  #copies: Promise<string> | undefined

  constructor(url: string, run: string) {
    this.url = url
    this.run = run
  }

  templateOf(options: TestDatabaseOptions): Promise<string> {
    const { schema = 'posthaste', prepare, template = '', movableClock = true } = options
    const key = JSON.stringify([schema, template, movableClock, prepare?.toString()])
    const name = `${this.run}_t${createHash('sha256').update(key).digest('hex').slice(0, 10)}`
    const made = this.#templates.get(name) ?? this.#makeTemplate(name, { ...options, schema, movableClock })
    this.#templates.set(name, made)
    made.catch(() => this.#templates.delete(name))
    return made
  }

  async create(name: string, template: string): Promise<void> {
    await this.#persistently(`create database "${name}" template "${template}" ${await this.#strategy()}`)
  }

  async drop(name: string): Promise<void> {
    await this.#persistently(`drop database if exists "${name}" with (force)`)
  }

  async dropAll(prefix: string): Promise<void> {
    const names = await this.#names(prefix)
    for (const name of names) await this.drop(name)
  }

  async close(): Promise<void> {
    await (await this.#pool)?.end()
  }

  // Made under another name, so that what has the template's name is whole; one process makes it, the others wait.
  async #makeTemplate(
    name: string,
    { schema, prepare, movableClock: movable }: TestDatabaseOptions & { readonly schema: string },
  ): Promise<string> {
    const client = await (await this.#connections()).connect()
    try {
      await client.query('select pg_advisory_lock($1, hashtext($2))', [TEMPLATE_LOCK, name])
      const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [name])
      if (rowCount) return name
      await this.#dropStale()
      const making = `${name}_making`
      await this.drop(making)
      await client.query(`create database "${making}"`)
      const url = urlOf(this.url, making)
      await migrate({ url, schema })
      if (movable) await runScript(url, movableClock(tablesOf(schema)))
      await prepare?.(url)
      await this.#persistently(`alter database "${making}" rename to "${name}"`)
      return name
    } finally {
      await client.query('select pg_advisory_unlock_all()')
      client.release()
    }
  }

  async #dropStale(): Promise<void> {
    for (const name of await this.#names(PREFIX)) {
      const began = Number.parseInt(name.slice(PREFIX.length).split('_')[0]!, 36)
      if (began < Date.now() / 1_000 - STALE_S) await this.drop(name)
    }
  }

  async #names(prefix: string): Promise<string[]> {
    const { rows } = await (await this.#connections()).query(
      'select datname from pg_database where starts_with(datname, $1)',
      [prefix],
    )
    return rows.map(({ datname }) => datname)
  }

  // Somebody who prepared the template, or looks at it, may be leaving it only now (55006).
  async #persistently(text: string): Promise<void> {
    const pool = await this.#connections()
    for (let tries = 1; ; tries += 1) {
      try {
        await pool.query(text)
        return
      } catch (error) {
        if (tries === TRIES || (error as { code?: string }).code !== '55006') throw error
        await sleep(20)
      }
    }
  }

  // Copying files takes half the time of writing them to the log, where the checkpoint that it wants waits for no disk.
  async #strategy(): Promise<string> {
    this.#copies ??= this.#connections().then(async (pool) => {
      const { rows } = await pool.query(
        `select current_setting('server_version_num')::integer >= 150000 and current_setting('fsync') = 'off' as files`,
      )
      return rows[0].files ? 'strategy file_copy' : ''
    })
    return await this.#copies
  }

  #connections(): Promise<Pool> {
    this.#pool ??= openPool(this.url, { max: 4, allowExitOnIdle: true })
    return this.#pool
  }
}

async function openPool(connectionString: string, options: object = {}): Promise<Pool> {
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({ connectionString, max: 20, ...options })
  pool.on('error', () => {})
  return pool
}

async function runScript(url: string, script: string): Promise<void> {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(script)
  } finally {
    await client.end()
  }
}

function urlOf(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}
