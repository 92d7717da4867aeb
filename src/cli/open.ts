import type { Pool, PoolClient } from 'pg'
import { PeerMissing } from '../errors.ts'
import type { Config, Logger, Posthaste } from '../index.ts'
import { Interrupted, Unreachable, UsageFailure } from './failure.ts'
import { Interruption } from './interruption.ts'
import { Progress, type Step } from './progress.ts'
import { type Resolved, resolveTarget, type Settings, type Target, type TargetOptions } from './target.ts'

/** A database that answered and has the schema of this release. */
export interface Opened {
  readonly posthaste: Posthaste<PoolClient>
  /** Runs the work in a transaction. */
  readonly transaction: <Result>(work: (tx: PoolClient) => Promise<Result>) => Promise<Result>
  readonly config: Config
  readonly settings: Settings
  readonly target: Target
  /** Tells how far it is, for the bar that whoever waits for more than a second is shown. */
  readonly progress: (step: Step) => void
  /** The command works in steps from now on: Ctrl-C aborts this signal instead of cancelling what runs. */
  readonly stepwise: () => AbortSignal
}

export interface OpenOptions extends TargetOptions {
  /** What `pg_stat_activity.application_name` shows. */
  readonly applicationName: string
  /** Gives the library the topology and the service of the configuration. @default false */
  readonly withTopology?: boolean
  readonly logger?: Logger
  readonly json?: boolean | undefined
  /** Runs until it is stopped: it listens to signals itself, and is not waited for. @default false */
  readonly endless?: boolean
}

/** Opens the database of a command, does the work, and closes it, whatever comes. */
export async function withPosthaste<Result>(
  options: OpenOptions,
  work: (opened: Opened) => Promise<Result>,
): Promise<Result> {
  const resolved = await resolveTarget(options)
  const { pool, target, clients } = await reach(resolved, options.applicationName)
  using interruption = new Interruption()
  using progress = new Progress(options.applicationName.replace('posthaste ', ''), {
    quiet: options.json === true || options.endless === true,
  })
  try {
    if (!options.endless) interruption.watch(pool, clients)
    await requireSchema(resolved)
    const { posthaste, transaction } = await opened(pool, resolved, options)
    const { config, settings } = resolved
    return await work({
      posthaste,
      transaction,
      config,
      settings,
      target,
      progress: (step) => progress.update(step),
      stepwise: () => interruption.stepwise(),
    })
  } catch (error) {
    if (interruption.signal.aborted && isCancelled(error)) throw new Interrupted('nothing was changed')
    throw isUnreachable(error) ? new Unreachable(target, error) : error
  } finally {
    await pool.end()
  }
}

/** Makes sure that somebody answers there, and lets in. */
export async function reach(
  { url, from }: Resolved,
  applicationName: string,
): Promise<{ readonly pool: Pool; readonly target: Target; readonly clients: ReadonlySet<PoolClient> }> {
  const pg = await loadPg()
  const options = {
    ...(url !== undefined && { connectionString: url }),
    application_name: applicationName,
    connectionTimeoutMillis: 10_000,
  }
  const { host, port, user, database } = clientOf(pg, options, from)
  const target = { host, port, user: user ?? '', database: database ?? '', from }
  const pool = new pg.Pool({ ...options, max: 4 })
  const clients = new Set<PoolClient>()
  pool.on('error', () => {})
  pool.on('connect', (client) => clients.add(client)).on('remove', (client) => clients.delete(client))
  try {
    const client = await pool.connect()
    client.release()
    return { pool, target, clients }
  } catch (error) {
    await pool.end()
    throw new Unreachable(target, error)
  }
}

/** Where a connection would go, part by part, without the password. */
export async function clientSettings({ url, from }: Pick<Resolved, 'url' | 'from'>) {
  const pg = await loadPg()
  const client = clientOf(pg, url === undefined ? {} : { connectionString: url }, from)
  const part = (name: string, value: string | number | null, variable: string) => {
    const said = url !== undefined ? from : process.env[variable] ? variable : 'default'
    return { name, value, from: said }
  }
  return [
    part('host', client.host, 'PGHOST'),
    part('port', client.port, 'PGPORT'),
    part('user', client.user ?? null, 'PGUSER'),
    part('password', client.password ? '•••' : null, 'PGPASSWORD'),
    part('database', client.database ?? null, 'PGDATABASE'),
  ]
}

async function opened(pool: Pool, { config, schema, settings }: Resolved, options: OpenOptions) {
  const { Posthaste, pgDatabase } = await import('../index.ts')
  const database = pgDatabase<PoolClient>(pool)
  const { listenUrl, service } = settings
  const posthaste = new Posthaste({
    database,
    schema,
    ...(options.withTopology && config.topology && { topology: config.topology }),
    ...(options.withTopology && service.value !== undefined && { service: service.value }),
    ...(listenUrl.value !== undefined && { listenUrl: listenUrl.value }),
    ...(options.logger && { logger: options.logger }),
    ...(config.relay && { relay: given(config.relay) }),
    ...(config.retention && { retention: given(config.retention) }),
    ...(config.effects && { effects: config.effects }),
  })
  const transaction: Opened['transaction'] = (work) => database.transaction(work)
  return { posthaste, transaction }
}

// What is undefined is not said.
function given<Options extends object>(
  options: Options,
): { [Name in keyof Options]: Exclude<Options[Name], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never
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
    throw new PeerMissing('pg', { cause: error })
  }
}

function clientOf(pg: Pg, options: object, from: string) {
  try {
    return new pg.Client(options)
  } catch (error) {
    throw new UsageFailure(`Cannot use ${from}: ${(error as Error).message}`, { cause: error })
  }
}

function isCancelled(error: unknown): boolean {
  return (error as { code?: string } | undefined)?.code === '57014'
}

function isUnreachable(error: unknown): boolean {
  const { code = '' } = (error ?? {}) as { code?: string }
  return ['DATABASE_UNREACHABLE', 'CONNECTION_LOST', 'ECONNREFUSED', 'ECONNRESET', '57P01', '57P02', '57P03'].includes(
    code,
  )
}
