import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { type Account, accountOf, identity, serverAccount } from './account.ts'
import type { Binaries } from './binaries.ts'
import { DataDirectoryUnreachableError, EmbeddedPostgresStartError } from './errors.ts'

const PREFIX = 'posthaste-data-'
const HOUR_MS = 3_600_000

/** Where a server keeps its files, and whose they are. `temporary` is what `stop()` removes. */
export interface DataDirectory {
  readonly path: string
  readonly account: Account
  readonly temporary?: string
}

export function openDataDirectory(path: string | undefined, { inMemory = false } = {}): DataDirectory {
  return path === undefined ? temporaryDirectory(inMemory) : keptDirectory(resolve(path))
}

/** Files of a cluster that exists already are left as they are. */
export function initialise({ path, account }: DataDirectory, binaries: Binaries): void {
  if (existsSync(join(path, 'PG_VERSION'))) return
  const passwordFile = join(shared(account), `posthaste-${randomBytes(8).toString('hex')}.password`)
  const password = randomBytes(16).toString('hex')
  writeFileSync(passwordFile, password, { mode: 0o600 })
  give(passwordFile, account)
  try {
    runInitdb(binaries, path, passwordFile, account)
  } finally {
    rmSync(passwordFile, { force: true })
  }
  const kept = join(path, 'posthaste.password')
  writeFileSync(kept, password, { mode: 0o600 })
  give(kept, account)
}

export function passwordOf({ path }: DataDirectory): string {
  const file = join(path, 'posthaste.password')
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

// The password keeps other users of the machine out, so one round of hashing is enough and connecting stays cheap, from 16 on.
function runInitdb({ initdb, major }: Binaries, path: string, passwordFile: string, account: Account): void {
  const result = spawnSync(
    initdb,
    [
      `--pgdata=${path}`,
      '--username=postgres',
      '--auth=password',
      `--pwfile=${passwordFile}`,
      ...(major < 16 ? [] : ['--set=scram_iterations=1']),
      '--encoding=UTF8',
      '--no-locale',
      '--no-sync',
      '--no-instructions',
    ],
    { ...identity(account), cwd: '/', encoding: 'utf8' },
  )
  if (result.status === 0) return
  throw new EmbeddedPostgresStartError(path, result.stderr?.trim() || result.error?.message || 'initdb said nothing')
}

function keptDirectory(path: string): DataDirectory {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const owner = statSync(path)
  const account = process.getuid?.() === 0 && owner.uid !== 0 ? accountOf(owner) : serverAccount()
  give(path, account)
  if (!reachable(path, account)) throw new DataDirectoryUnreachableError(path, account.name)
  return { path, account }
}

function temporaryDirectory(inMemory: boolean): DataDirectory {
  const account = serverAccount()
  const base = (inMemory && memory(account)) || shared(account)
  sweep(base)
  const temporary = mkdtempSync(join(base, PREFIX))
  own(temporary, process.pid)
  chmodSync(temporary, 0o711)
  const path = join(temporary, 'data')
  mkdirSync(path, { mode: 0o700 })
  give(path, account)
  return { path, account, temporary }
}

/** From now on a temporary directory is abandoned when the process `pid` has ended, whatever becomes of us. */
export function bequeath({ temporary }: DataDirectory, pid: number): void {
  if (temporary !== undefined) own(temporary, pid)
}

function own(temporary: string, pid: number): void {
  writeFileSync(join(temporary, 'owner'), `${pid} ${startOf(pid)}`)
}

// Root's TMPDIR may be root's alone.
function shared(account: Account): string {
  return [tmpdir(), '/var/tmp'].find((candidate) => reachable(candidate, account)) ?? tmpdir()
}

const MEMORY = '/dev/shm'
const ENOUGH_BYTES = 2 * 1_024 ** 3

// Containers often have 64 MB of it.
function memory(account: Account): string | undefined {
  try {
    const { bavail, bsize } = statfsSync(MEMORY)
    return bavail * bsize >= ENOUGH_BYTES && reachable(MEMORY, account) ? MEMORY : undefined
  } catch {
    return undefined
  }
}

function give(path: string, { uid, gid }: Account): void {
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid)
}

function reachable(path: string, account: Account): boolean {
  if (account.uid === undefined) return true
  return spawnSync('test', ['-x', path], { ...identity(account), cwd: '/' }).status === 0
}

/** Removes what a process that was killed together with its watchdog has left behind; never what belongs to a living one. */
function sweep(base: string): void {
  for (const name of readdirSync(base).filter((entry) => entry.startsWith(PREFIX))) {
    try {
      if (abandoned(join(base, name))) remove(join(base, name))
    } catch {
      // another process sweeps it at this moment, or it is not ours to remove
    }
  }
}

function abandoned(directory: string): boolean {
  const { uid, mtimeMs } = statSync(directory)
  if (uid !== (process.getuid?.() ?? uid)) return false
  const owner = join(directory, 'owner')
  if (!existsSync(owner)) return Date.now() - mtimeMs > HOUR_MS
  const [pid, start] = readFileSync(owner, 'utf8').split(' ')
  return !isAlive(Number(pid)) || startOf(Number(pid)) !== start
}

function remove(directory: string): void {
  const pid = runningServer(join(directory, 'data'))
  if (pid !== undefined) end(pid)
  rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

// It writes until it is dead, and a directory that is written to cannot be removed.
function end(pid: number): void {
  process.kill(pid, 'SIGQUIT')
  const clock = new Int32Array(new SharedArrayBuffer(4))
  for (let turns = 0; turns < 100 && !['', 'dead'].includes(startOf(pid)); turns += 1) Atomics.wait(clock, 0, 0, 20)
}

/** The pid of the server that runs on a data directory, if one does. */
export function runningServer(path: string): number | undefined {
  const file = join(path, 'postmaster.pid')
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : Number.NaN
  return pid > 0 && isAlive(pid) && worksIn(pid, path) ? pid : undefined
}

// A pid may have been given to somebody else; a postmaster's working directory is its data directory.
function worksIn(pid: number, path: string): boolean {
  if (process.platform !== 'linux') return true
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === resolve(path)
  } catch {
    return false
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

// A process is its pid and when it started: pids come round. One that is dead and not yet reaped has no start any more.
function startOf(pid: number): string {
  try {
    const facts = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return facts[0] === 'Z' ? 'dead' : (facts[19] ?? '')
  } catch {
    return ''
  }
}

export function removeTemporary({ temporary }: DataDirectory): void {
  if (temporary !== undefined && dirname(temporary) !== temporary) {
    rmSync(temporary, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}
