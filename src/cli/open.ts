import type { Pool, PoolClient } from 'pg'
import type { Logger, Posthaste } from '../index.ts'
import { Unreachable, UsageFailure } from './failure.ts'
import { type Config, type Resolved, resolveTarget, type Target, type TargetOptions } from './target.ts'

/** A database that answered and has the schema of this release. */
export interface Opened {
  readonly posthaste: Posthaste<PoolClient>
  /** Runs the work in a transaction. */
  readonly transaction: <Result>(work: (tx: PoolClient) => Promise<Result>) => Promise<Result>
  readonly config: Config
  readonly target: Target
}

export interface OpenOptions extends TargetOptions {
  /** What `pg_stat_activity.application_name` shows. */
  readonly applicationName: string
  /** Gives the library the topology and the service of the configuration. @default false */
  readonly withTopology?: boolean
  readonly listenUrl?: string | undefined
  readonly logger?: Logger
}

/** Opens the database of a command, does the work, and closes it, whatever comes. */
export async function withPosthaste<Result>(
  options: OpenOptions,
  work: (opened: Opened) => Promise<Result>,
): Promise<Result> {
  const resolved = await resolveTarget(options)
  const { pool, target } = await reach(resolved, options.applicationName)
  try {
    await requireSchema(resolved)
    return await work(await opened(pool, target, resolved, options))
  } catch (error) {
    throw isUnreachable(error) ? new Unreachable(target, error) : error
  } finally {
    await pool.end()
  }
}

/** Makes sure that somebody answers there, and lets in. */
export async function reach(
  { url, from }: Resolved,
  applicationName: string,
): Promise<{ readonly pool: Pool; readonly target: Target }> {
  const pg = await loadPg()
  const options = {
    ...(url !== undefined && { connectionString: url }),
    application_name: applicationName,
    connectionTimeoutMillis: 10_000,
  }
  const { host, port, user, database } = clientOf(pg, options, from)
  const target = { host, port, user: user ?? '', database: database ?? '', from }
  const pool = new pg.Pool({ ...options, max: 4 })
  pool.on('error', () => {})
  try {
    const client = await pool.connect()
    client.release()
    return { pool, target }
  } catch (error) {
    await pool.end()
    throw new Unreachable(target, error)
  }
}

async function opened(pool: Pool, target: Target, { config, schema }: Resolved, options: OpenOptions): Promise<Opened> {
  const { Posthaste, pgDatabase } = await import('../index.ts')
  const database = pgDatabase<PoolClient>(pool)
  const listenUrl = options.listenUrl ?? config.listenUrl
  const posthaste = new Posthaste({
    database,
    schema,
    ...(options.withTopology && config.topology && { topology: config.topology }),
    ...(options.withTopology && config.service !== undefined && { service: config.service }),
    ...(listenUrl !== undefined && { listenUrl }),
    ...(options.logger && { logger: options.logger }),
  })
  return { posthaste, transaction: (work) => database.transaction(work), config, target }
}

async function requireSchema({ url, schema }: Resolved): Promise<void> {
  const { migrationState, SchemaBehind, SchemaMissing } = await import('../index.ts')
  const { applied, pending } = await migrationState({ url, schema })
  if (applied.length === 0) throw new SchemaMissing(schema)
  if (pending.length > 0) throw new SchemaBehind(schema, pending)
}

type Pg = typeof import('pg')['default']

async function loadPg(): Promise<Pg> {
  try {
    return (await import('pg')).default
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new UsageFailure('Cannot find the package "pg": npm install pg', { cause: error })
  }
}

function clientOf(pg: Pg, options: object, from: string) {
  try {
    return new pg.Client(options)
  } catch (error) {
    throw new UsageFailure(`Cannot use ${from}: ${(error as Error).message}`, { cause: error })
  }
}

function isUnreachable(error: unknown): boolean {
  const { code = '' } = (error ?? {}) as { code?: string }
  return ['DATABASE_UNREACHABLE', 'CONNECTION_LOST', 'ECONNREFUSED', 'ECONNRESET', '57P01', '57P02', '57P03'].includes(
    code,
  )
}
