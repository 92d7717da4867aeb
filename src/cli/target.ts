import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { z } from 'zod'
import type { Topology } from '../index.ts'
import { parseOptions, passedThrough } from '../rules/options.ts'
import { UsageFailure } from './failure.ts'

/** The options every command with a database has. */
export interface TargetOptions {
  readonly url?: string | undefined
  readonly schema?: string | undefined
  readonly config?: string | undefined
}

/** Where a command goes, without the password. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** Who said so. */
  readonly from: string
}

/** What `posthaste.config.ts` exports by default; all of it is optional. */
export interface Config {
  /** Connection string; used when neither --url nor the environment names a database. */
  readonly url?: string | undefined
  /** A direct connection string for the relay, when `url` goes through a pooler. */
  readonly listenUrl?: string | undefined
  readonly schema?: string | undefined
  /** What `posthaste topology declare` declares. */
  readonly topology?: Topology | undefined
  /** The name of the service, which owns what it declares first. */
  readonly service?: string | undefined
}

export interface Resolved {
  /** Undefined: the PG* variables, or pg's own defaults. */
  readonly url: string | undefined
  readonly from: string
  readonly schema: string
  readonly config: Config
}

const CONFIG = z.strictObject({
  url: z.string().optional(),
  listenUrl: z.string().optional(),
  schema: z.string().optional(),
  topology: passedThrough<Topology | undefined>().optional(),
  service: z.string().optional(),
})

const FILES = ['posthaste.config.ts', 'posthaste.config.mts', 'posthaste.config.js', 'posthaste.config.mjs']
const PG_VARIABLES = ['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE', 'PGHOSTADDR', 'PGSERVICE']

/** The database and the schema a command is about. */
export async function resolveTarget(options: TargetOptions): Promise<Resolved> {
  const { file, config } = await loadConfig(options.config)
  const { url, from } = chosen(options.url, config.url, file)
  if (url !== undefined) checkUrl(url, from)
  return { url, from, schema: options.schema ?? config.schema ?? 'posthaste', config }
}

function chosen(url: string | undefined, configured: string | undefined, file: string | undefined) {
  if (url !== undefined) return { url, from: '--url' }
  if (process.env.DATABASE_URL) return { url: process.env.DATABASE_URL, from: 'DATABASE_URL' }
  const variables = PG_VARIABLES.filter((name) => process.env[name])
  if (variables.length > 0) return { url: undefined, from: variables.join(', ') }
  if (configured !== undefined) return { url: configured, from: file! }
  return { url: undefined, from: 'no option and no variable: these are the defaults' }
}

// The value is not quoted: it may hold a password.
function checkUrl(url: string, from: string): void {
  if (!/^postgres(ql)?:\/\//.test(url)) throw new UsageFailure(`Cannot use ${from}: it does not begin with postgres://`)
  if (!URL.canParse(url) && !url.includes('%2F')) {
    throw new UsageFailure(`Cannot use ${from}: it is not a URL; is a sign in the password not percent-encoded?`)
  }
}

async function loadConfig(path: string | undefined): Promise<{ file: string | undefined; config: Config }> {
  const file = path ?? (await firstThere(FILES))
  if (file === undefined) return { file, config: {} }
  const exported = await defaultExportOf(file)
  try {
    return { file, config: parseOptions(CONFIG, exported) }
  } catch (error) {
    throw new UsageFailure(`Cannot use "${file}": ${(error as Error).message}`, { cause: error })
  }
}

async function defaultExportOf(file: string): Promise<unknown> {
  try {
    const module = await import(pathToFileURL(resolve(file)).href)
    if (module.default !== undefined) return module.default
  } catch (error) {
    throw new UsageFailure(`Cannot load "${file}": ${(error as Error).message}`, { cause: error })
  }
  throw new UsageFailure(`Cannot use "${file}": it has no default export`)
}

async function firstThere(files: readonly string[]): Promise<string | undefined> {
  for (const file of files) {
    const there = await access(file).then(
      () => true,
      () => false,
    )
    if (there) return file
  }
  return undefined
}
