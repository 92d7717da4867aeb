import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** A superuser's url of the one server of this run, how its template is cloned, and how this run's databases begin. */
    server: { readonly url: string; readonly clone: string; readonly prefix: string }
  }
}

/** What tests need and PostgreSQL's defaults do not give. fsync is off for tests only: they crash processes, not machines. */
export const TEST_SETTINGS = Object.freeze({
  max_connections: 300,
  max_prepared_transactions: 200,
  fsync: 'off',
  full_page_writes: 'off',
})

/** vitest's global set-up: one server per run, migrated once into a template that every test file clones. */
export default async function server(project: TestProject): Promise<() => Promise<void>> {
  const prefix = `posthaste_test_${randomBytes(4).toString('hex')}`
  const { url, stop } = await theServer(prefix)
  const template = `${prefix}_template`
  await makeTemplate(url, template)
  project.provide('server', { url, clone: `template ${template} ${await strategy(url)}`, prefix })
  return stop
}

/** Where nothing is synced, copying files is half the work of writing a database to the log. */
async function strategy(url: string): Promise<string> {
  const { rows } = await run(
    url,
    `select current_setting('fsync') = 'off' and current_setting('server_version_num')::int >= 150000 as copies`,
  )
  return rows[0].copies ? 'strategy file_copy' : ''
}

interface Served {
  readonly url: string
  stop(): Promise<void>
}

/** A server that is given, a container of a given image, or the embedded one. */
async function theServer(prefix: string): Promise<Served> {
  const { TEST_DATABASE_URL: given, TEST_POSTGRES_IMAGE: image } = process.env
  if (given) return { url: given, stop: () => dropAll(given, prefix) }
  if (image) return await startContainer(image)
  const embedded = await startEmbeddedPostgres({ settings: TEST_SETTINGS, inMemory: true })
  return { url: embedded.url, stop: () => embedded.stop() }
}

// In memory, as the embedded server's files are: databases are made and dropped by the hundred. Parallel plans share memory, of which
// a container has 64 MB by default.
const MEMORY = '/posthaste'
const SHARED_BYTES = 256 * 1_024 ** 2

/** `TEST_POSTGRES_IMAGE=postgres:15 npm test`; where no container runtime answers it fails, and says so. */
async function startContainer(image: string): Promise<Served> {
  const { GenericContainer, Wait } = await import('testcontainers')
  const settings = Object.entries(TEST_SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const container = await new GenericContainer(image)
    .withEnvironment({ POSTGRES_PASSWORD: 'posthaste', PGDATA: `${MEMORY}/data`, LANG: 'C.UTF-8' })
    .withTmpFs({ [MEMORY]: 'rw' })
    .withSharedMemorySize(SHARED_BYTES)
    .withCommand(['postgres', ...settings])
    .withExposedPorts(5432)
    .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/, 2))
    .start()
  const url = `postgres://postgres:posthaste@${container.getHost()}:${container.getMappedPort(5432)}/postgres`
  return { url, stop: async () => void (await container.stop()) }
}

async function makeTemplate(url: string, template: string): Promise<void> {
  await run(url, `create database ${template}`)
  await applyMigrations(databaseUrl(url, template))
}

/** Until src/postgres/migrate.ts is there, databases are empty. */
export async function applyMigrations(url: string): Promise<void> {
  const file = new URL('../../src/postgres/migrate.ts', import.meta.url)
  if (!existsSync(file)) return
  const { migrate } = (await import(file.href)) as {
    migrate: (options: { url: string; schema: string }) => Promise<unknown>
  }
  await migrate({ url, schema: 'posthaste' })
}

async function dropAll(url: string, prefix: string): Promise<void> {
  const { rows } = await run(url, `select datname from pg_database where datname like '${prefix}%'`)
  for (const { datname } of rows) await run(url, `drop database if exists ${datname} with (force)`)
}

/** The same server, another database. */
export function databaseUrl(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

/** One statement on a connection of its own. */
export async function run(url: string, text: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await client.query(text)
  } finally {
    await client.end()
  }
}
