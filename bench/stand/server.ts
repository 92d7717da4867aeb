import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { migrate, Posthaste, pgDatabase, type Topology } from '../../src/index.ts'

/**
 * What the server is told beyond PostgreSQL's own settings; everything that makes a COMMIT durable is on. Room for the log, so
 * that a checkpoint falls into no run: one is asked for before each.
 */
export const SETTINGS = Object.freeze({
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  max_connections: 320,
  shared_buffers: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
})

export const TEMPLATE = 'bench_template'

/** A server with a database to clone: migrated, the topology declared. */
export async function startServer(
  topology: Topology,
  settings: Readonly<Record<string, string | number>> = {},
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ settings: { ...SETTINGS, ...settings } })
  try {
    await runOn(server.url, `create database ${TEMPLATE}`)
    await migrate({ url: server.urlOf(TEMPLATE) })
    await declare(server.urlOf(TEMPLATE), topology)
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function declare(url: string, topology: Topology): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  await new Posthaste({ database: pgDatabase(pool), topology }).declare()
  await pool.end()
}

/** Statements on a connection of their own. */
export async function runOn(url: string, ...texts: string[]): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    let last: pg.QueryResult | undefined
    for (const text of texts) last = await client.query(text)
    return last!
  } finally {
    await client.end()
  }
}
