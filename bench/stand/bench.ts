import pg from 'pg'
import type { EmbeddedPostgres } from '../../src/embedded/index.ts'
import { Child, type ChildOptions } from './child.ts'
import type { Peer, WorkOptions } from './peer.ts'
import { runOn, TEMPLATE } from './server.ts'
import { Worker } from './worker.ts'
import type { WorkerTask } from './worker-process.ts'

let made = 0

/** What one workload stands on: databases of its own, their pools, other processes. All of it goes when the workload ends. */
export class Bench implements AsyncDisposable {
  readonly server: EmbeddedPostgres
  /** Fewer and shorter runs are wanted. */
  readonly quick: boolean
  readonly #say: (line: string) => void
  readonly #databases: string[] = []
  readonly #pools = new Set<pg.Pool>()
  readonly #children = new Set<Child | Worker>()

  constructor(server: EmbeddedPostgres, say: (line: string) => void, { quick = false } = {}) {
    this.server = server
    this.quick = quick
    this.#say = say
  }

  say(line: string): void {
    this.#say(line)
  }

  /** A new database, as a copy of another that nobody is connected to; the server's buffers are clean after it. */
  async database(from = TEMPLATE): Promise<string> {
    made += 1
    const name = `bench_${made}`
    await runOn(this.server.url, `create database ${name} template ${from} strategy file_copy`, 'checkpoint')
    this.#databases.push(name)
    return name
  }

  async drop(name: string): Promise<void> {
    await runOn(this.server.url, `drop database if exists ${name} with (force)`)
  }

  urlOf(database: string): string {
    return this.server.urlOf(database)
  }

  pool(database: string, max: number): pg.Pool {
    const pool = new pg.Pool({ connectionString: this.urlOf(database), max })
    // A workload that is given up leaves clients behind, whose databases are dropped under them.
    pool.on('error', () => {})
    pool.on('connect', (client) => client.on('error', () => {}))
    this.#pools.add(pool)
    return pool
  }

  /** So many connections, open. */
  async clients(database: string, count: number): Promise<pg.PoolClient[]> {
    const pool = this.pool(database, count)
    return await Promise.all(Array.from({ length: count }, () => pool.connect()))
  }

  async end(pool: pg.Pool): Promise<void> {
    if (this.#pools.delete(pool)) await pool.end()
  }

  /** Another process; resolves when it is at work. */
  async process(database: string, options: Omit<ChildOptions, 'url'>): Promise<Child> {
    const child = new Child({ ...options, url: this.urlOf(database) })
    this.#children.add(child)
    await child.ready
    return child
  }

  /** A peer's consumer in another process; resolves when it is at work. */
  async worker(database: string, peer: Peer, options: WorkOptions, task: Partial<WorkerTask> = {}): Promise<Worker> {
    const whole = { effect: false, tell: false, refuseOneIn: 0, ...task }
    const worker = new Worker(this.urlOf(database), peer.name, whole, options)
    this.#children.add(worker)
    await worker.ready
    return worker
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill()
    for (const database of this.#databases) await this.drop(database)
  }
}

/** Gives back what `clients` took. */
export function release(clients: readonly pg.PoolClient[]): void {
  for (const client of clients) client.release(true)
}
