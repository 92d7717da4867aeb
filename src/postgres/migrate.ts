import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Client } from 'pg'
import { withPeer } from '../machinery/peer.ts'
import { refuseUnknown } from '../rules/options.ts'
import { tablesOf } from './tables.ts'

/** Which database, and which schema in it. */
export interface MigrateOptions {
  /** A connection string, or nothing for `DATABASE_URL` and the PG* variables. */
  readonly url?: string | undefined
  /** The schema that holds everything. @default 'posthaste' */
  readonly schema?: string
}

/** What a database has of this release's schema. */
export interface MigrationState {
  readonly schema: string
  /** Migrations that have run, oldest first. */
  readonly applied: readonly string[]
  /** Migrations this release has and the database has not. */
  readonly pending: readonly string[]
  /** Whether the functions in the database are this release's. */
  readonly functionsCurrent: boolean
}

const MIGRATIONS = fileURLToPath(new URL('../../migrations/', import.meta.url))
const FUNCTIONS = `${MIGRATIONS}functions/`
const LEDGER = 'migrations'

// Advisory lock of the migrators of one database. A second one waits for the first, then finds nothing to do.
const MIGRATOR = [1886349416, 1] as const

// What is written here is read one way, whatever the role or the database is set to.
const SETTINGS = { quote_all_identifiers: 'off', standard_conforming_strings: 'on' }

/**
 * Brings a schema to this release: all of it or nothing, and safe to run from many processes at once.
 *
 * Tables change by numbered migrations, each in a transaction; functions are replaced as a whole, in one transaction.
 * The release before keeps working on the result.
 *
 * ```ts
 * const { ran } = await migrate({ url: connectionString })
 * log.info(`ran ${ran.length} migrations`)
 * ```
 */
export async function migrate(
  options: MigrateOptions = {},
): Promise<MigrationState & { readonly ran: readonly string[] }> {
  refuseUnknown(options, ['url', 'schema'])
  const { url, schema = 'posthaste' } = options
  tablesOf(schema)
  return await connected(url, async (client) => {
    await client.query('select pg_advisory_lock($1, $2)', [...MIGRATOR])
    const ran = await migrateTables(client, schema)
    const replaced = await replaceFunctions(client, schema)
    return { ...(await stateOf(client, schema)), ran: replaced ? [...ran, 'functions'] : ran }
  })
}

/**
 * What `migrate` would find, without changing anything.
 *
 * ```ts
 * const { pending, functionsCurrent } = await migrationState({ url: connectionString })
 * if (pending.length > 0 || !functionsCurrent) throw new Error('migrate first')
 * ```
 */
export async function migrationState(options: MigrateOptions = {}): Promise<MigrationState> {
  refuseUnknown(options, ['url', 'schema'])
  const { url, schema = 'posthaste' } = options
  tablesOf(schema)
  return await connected(url, (client) => stateOf(client, schema))
}

/**
 * Everything `migrate` would run on an empty database, as one script for other migration tools.
 *
 * ```ts
 * process.stdout.write(await printMigrations({ schema: 'messages' }))
 * ```
 */
export async function printMigrations({ schema = 'posthaste' }: { readonly schema?: string } = {}): Promise<string> {
  tablesOf(schema)
  const tables = await Promise.all(
    (await names(MIGRATIONS)).map(async (name) => upPart(await readFile(`${MIGRATIONS}${name}.sql`, 'utf8'))),
  )
  const functions = await functionsScript()
  const ledger = (await names(MIGRATIONS)).map(
    (name) => `insert into ${LEDGER} (name, run_on) values ('${name}', now());`,
  )
  return [
    'begin;',
    ...Object.entries(SETTINGS).map(([name, value]) => `set local ${name} = ${value};`),
    `create schema if not exists "${schema}";`,
    `set local search_path to "${schema}", pg_temp;`,
    `create table ${LEDGER} (id serial primary key, name varchar(255) not null, run_on timestamp not null);`,
    ...tables,
    ...ledger,
    functions.text,
    `update settings set functions = '${functions.digest}';`,
    'commit;',
    '',
  ].join('\n\n')
}

async function migrateTables(client: Client, schema: string): Promise<string[]> {
  const { runner } = await import('node-pg-migrate')
  const done = await runner({
    dbClient: client,
    dir: MIGRATIONS,
    direction: 'up',
    schema,
    createSchema: true,
    migrationsSchema: schema,
    createMigrationsSchema: true,
    migrationsTable: LEDGER,
    ignorePattern: 'functions',
    noLock: true,
    logger: SILENT,
  })
  return done.map(({ name }) => name)
}

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

async function replaceFunctions(client: Client, schema: string): Promise<boolean> {
  const { text, digest } = await functionsScript()
  const { rows } = await client.query(`select functions from "${schema}".settings`)
  if (rows[0]?.functions === digest) return false
  await client.query('begin')
  try {
    await client.query(`set local search_path to "${schema}", pg_temp`)
    await client.query(text)
    await client.query('update settings set functions = $1', [digest])
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
  return true
}

async function stateOf(client: Client, schema: string): Promise<MigrationState> {
  const all = await names(MIGRATIONS)
  const { rows } = await client.query(`select to_regclass('"${schema}".${LEDGER}') is not null as there`)
  if (!rows[0].there) return { schema, applied: [], pending: all, functionsCurrent: false }
  const ledger = await client.query(`select name from "${schema}".${LEDGER} order by id`)
  const applied = ledger.rows.map(({ name }) => name as string)
  const settings = applied.length > 0 ? await client.query(`select functions from "${schema}".settings`) : { rows: [] }
  const { digest } = await functionsScript()
  return {
    schema,
    applied,
    pending: all.filter((name) => !applied.includes(name)),
    functionsCurrent: settings.rows[0]?.functions === digest,
  }
}

async function functionsScript(): Promise<{ text: string; digest: string }> {
  const files = await Promise.all((await names(FUNCTIONS)).map((name) => readFile(`${FUNCTIONS}${name}.sql`, 'utf8')))
  const text = files.join('\n')
  return { text, digest: createHash('sha256').update(text).digest('hex') }
}

async function names(directory: string): Promise<string[]> {
  const files = await readdir(directory)
  return files
    .filter((file) => file.endsWith('.sql'))
    .map((file) => file.slice(0, -'.sql'.length))
    .sort()
}

function upPart(script: string): string {
  return script.split('-- Down Migration')[0]!.replace('-- Up Migration', '').trim()
}

async function connected<Result>(url: string | undefined, work: (client: Client) => Promise<Result>): Promise<Result> {
  const { default: pg } = await withPeer('pg', () => import('pg'))
  const client = new pg.Client({
    connectionString: url ?? process.env.DATABASE_URL,
    application_name: 'posthaste migrate',
    connectionTimeoutMillis: 10_000,
  })
  client.on('error', () => {})
  await client.connect()
  try {
    for (const [name, value] of Object.entries(SETTINGS)) await client.query(`set ${name} = ${value}`)
    return await work(client)
  } finally {
    await client.end()
  }
}
