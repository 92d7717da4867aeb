import pg from 'pg'
import { inject } from 'vitest'
import {
  type EmbeddedPostgres,
  EmbeddedPostgresMissingError,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/embedded/index.ts'
import { applyMigrations, databaseUrl, run, TEST_SETTINGS } from './server.ts'
import { until } from './until.ts'

export interface TestDatabase {
  readonly url: string
  readonly pool: pg.Pool
  /** Ends the pool and drops the database, whoever else is still connected. */
  drop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface LonelyServer {
  readonly server: EmbeddedPostgres
  /** The url of its migrated database. */
  readonly url: string
  readonly pool: pg.Pool
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

let made = 0

/** A migrated database of one's own on the server of this run, in some 30 ms: once per test file, or per test that wants to be alone. */
export async function createDatabase(): Promise<TestDatabase> {
  const { url: server, clone, prefix } = inject('server')
  made += 1
  const name = `${prefix}_${process.pid}_${made}`
  await run(server, `create database ${name} ${clone}`)
  const url = databaseUrl(server, name)
  const pool = quietPool(url)
  const drop = async () => {
    if (!pool.ended) await pool.end()
    await run(server, `drop database if exists ${name} with (force)`)
  }
  return { url, pool, drop, [Symbol.asyncDispose]: drop }
}

const OTHERS = 'select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()'

/** Some libraries are done before their sessions are, and would not bear to see one terminated when the database is dropped. */
export async function leftByAll({ url, pool }: TestDatabase): Promise<void> {
  await pool.end()
  await until(async () => (await run(url, OTHERS)).rows.length === 0)
}

/** A migrated server of one's own, for tests that hold transactions open, kill the postmaster or need other settings. */
export async function lonelyServer(options: EmbeddedPostgresOptions = {}): Promise<LonelyServer> {
  const server = await startEmbeddedPostgres({
    inMemory: true,
    ...options,
    settings: { ...TEST_SETTINGS, ...options.settings },
  })
  await run(server.url, 'create database lonely')
  const url = server.urlOf('lonely')
  await applyMigrations(url)
  const pool = quietPool(url)
  const stop = async () => {
    if (!pool.ended) await pool.end()
    await server.stop()
  }
  return { server, url, pool, stop, [Symbol.asyncDispose]: stop }
}

/** Why there can be no lonely server: `describe.skipIf(noLonelyServer)`. Only a machine that brings its own database may lack one. */
export const noLonelyServer: string | undefined = await reason()

async function reason(): Promise<string | undefined> {
  if (!process.env.TEST_DATABASE_URL) return undefined
  try {
    await (await startEmbeddedPostgres()).stop()
    return undefined
  } catch (error) {
    if (!(error instanceof EmbeddedPostgresMissingError)) throw error
    console.warn(`skipped, as only TEST_DATABASE_URL is there: ${error.message}`)
    return error.message
  }
}

// A server that goes away under an idle connection is what these tests are about, not an uncaught error.
function quietPool(url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return pool
}
