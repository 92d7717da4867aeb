import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Config, parseConfig } from '../rules/config.ts'
import { UsageFailure } from './failure.ts'

/** The options every command with a database has. */
export interface TargetOptions {
  readonly url?: string | undefined
  readonly schema?: string | undefined
  readonly config?: string | undefined
  readonly listenUrl?: string | undefined
  readonly healthPort?: number | undefined
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

/** A setting with its value, and who said so. */
export interface Setting<Value = string | undefined> {
  readonly value: Value
  /** `--schema`, `DATABASE_URL`, `posthaste.config.ts`, or `default`. */
  readonly from: string
}

export interface Resolved {
  /** Undefined: the PG* variables, or pg's own defaults. */
  readonly url: string | undefined
  readonly from: string
  readonly schema: string
  readonly config: Config
  /** Everything that is not in the connection string, with who said so. */
  readonly settings: Settings
}

export interface Settings {
  readonly file: string | undefined
  readonly url: Setting
  readonly listenUrl: Setting
  readonly schema: Setting<string>
  readonly service: Setting
  readonly healthPort: Setting<number | undefined>
}

/** The variables that are read, beside DATABASE_URL and those of libpq. */
export const VARIABLES = Object.freeze({
  config: 'POSTHASTE_CONFIG',
  schema: 'POSTHASTE_SCHEMA',
  service: 'POSTHASTE_SERVICE',
  listenUrl: 'POSTHASTE_LISTEN_URL',
  healthPort: 'POSTHASTE_HEALTH_PORT',
  debug: 'POSTHASTE_DEBUG',
})

/** Those that other parts of the package read, and no command. */
export const OTHER_VARIABLES: readonly string[] = [
  'POSTHASTE_EMBEDDED_POSTGRES',
  'POSTHASTE_TEST_URL',
  'POSTHASTE_LEASH',
]

/** What `from` says when nobody named a database. */
export const UNNAMED = 'no option and no variable: these are the defaults'

const FILES = ['posthaste.config.ts', 'posthaste.config.mts', 'posthaste.config.js', 'posthaste.config.mjs']
const PG_VARIABLES = ['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE', 'PGHOSTADDR', 'PGSERVICE']

/** The database and the schema a command is about. */
export async function resolveTarget(options: TargetOptions): Promise<Resolved> {
  const { file, config } = await loadConfig(options.config ?? fromVariable('config'))
  const url = chosen(options.url, config.url, file)
  if (url.value !== undefined) checkUrl(url.value, url.from)
  const schema = firstSaid(
    [options.schema, '--schema'],
    [fromVariable('schema'), VARIABLES.schema],
    [config.schema, file],
    ['posthaste', 'default'],
  ) as Setting<string>
  const settings: Settings = {
    file,
    url,
    schema,
    listenUrl: firstSaid(
      [options.listenUrl, '--listen-url'],
      [fromVariable('listenUrl'), VARIABLES.listenUrl],
      [config.listenUrl, file],
    ),
    service: firstSaid([fromVariable('service'), VARIABLES.service], [config.service, file]),
    healthPort: healthPort(options.healthPort, config.healthPort, file),
  }
  return { url: url.value, from: url.from, schema: schema.value, config, settings }
}

type Said<Value> = readonly [Value | undefined, string | undefined]

function firstSaid<Value>(...said: readonly Said<Value>[]): Setting<Value | undefined> {
  const found = said.find(([value]) => value !== undefined)
  return found ? { value: found[0], from: found[1]! } : { value: undefined, from: 'default' }
}

function healthPort(option: number | undefined, configured: number | undefined, file: string | undefined) {
  const variable = fromVariable('healthPort')
  const port = variable === undefined ? undefined : Number(variable)
  if (port !== undefined && !(Number.isInteger(port) && port >= 1 && port <= 65_535)) {
    throw new UsageFailure(`Cannot use ${VARIABLES.healthPort}: it is not a port from 1 to 65535`)
  }
  return firstSaid([option, '--health-port'], [port, VARIABLES.healthPort], [configured, file])
}

function fromVariable(name: keyof typeof VARIABLES): string | undefined {
  return process.env[VARIABLES[name]] || undefined
}

function chosen(url: string | undefined, configured: string | undefined, file: string | undefined): Setting {
  if (url !== undefined) return { value: url, from: '--url' }
  if (process.env.DATABASE_URL) return { value: process.env.DATABASE_URL, from: 'DATABASE_URL' }
  const variables = PG_VARIABLES.filter((name) => process.env[name])
  if (variables.length > 0) return { value: undefined, from: variables.join(', ') }
  if (configured !== undefined) return { value: configured, from: file! }
  return { value: undefined, from: UNNAMED }
}

/** A connection string that may be shown: whatever could be a secret is not in it. */
export function masked(url: string): string {
  const bare = url.replace(/^([a-z]+:\/\/[^:@/?#]*):.*@/i, '$1:•••@')
  return bare.replace(/([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*/gi, '$1•••')
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
    return { file, config: parseConfig(exported) }
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
