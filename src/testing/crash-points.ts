import type { Database, NoSession, Session, SessionOptions } from '../database.ts'
import { CommitUnknown, ConnectionLost } from '../errors.ts'
import type { Queryable, Row, StatementOptions } from '../postgres/queryable.ts'

/**
 * Where a process can die: before or after it publishes, claims deliveries (or leases them), records what came of them, commits,
 * or routes.
 */
export type CrashPoint = `${'before' | 'after'}-${'publish' | 'claim' | 'settle' | 'commit' | 'route'}`

/** Which of the moments at a point it is, and how the process dies. */
export interface CrashOptions {
  /** How often the point is passed before. @default 0 */
  readonly skip?: number
}

/** What `crashPoints` may be told. */
export interface CrashPointsOptions {
  /**
   * What a crash is. `sever`: this database is dead to its Posthaste from then on: what was open is rolled back by the server,
   * locks and LISTEN are gone, nothing it asks for is answered; the process, and your test in it, live on. `kill`: SIGKILL, for
   * processes that your test has started. @default 'sever'
   */
  readonly how?: 'sever' | 'kill'
}

/** A database whose process dies where it is told to. */
export interface CrashPoints<Tx> {
  /** The same database; give it to the Posthaste that is to die. */
  readonly database: Database<Tx>
  /** Lets it die at a point; resolves when it has. */
  at(point: CrashPoint, options?: CrashOptions): Promise<void>
  /** Whether it has died. */
  readonly crashed: boolean
}

/**
 * Lets a Posthaste die at a point of your choice, so that a test sees what another process finds: nothing lost, nothing twice.
 *
 * ```ts
 * const points = crashPoints(pgDatabase(pool))
 * const first = new Posthaste({ database: points.database, topology })
 * const died = points.at('before-commit')
 * await first.start()
 * await died
 * const second = new Posthaste({ database: pgDatabase(pool), topology })
 * ```
 */
export function crashPoints<Tx>(database: Database<Tx>, { how = 'sever' }: CrashPointsOptions = {}): CrashPoints<Tx> {
  const mortal = new Mortal(database, how)
  return {
    database: mortal,
    at: (point, options) => mortal.at(point, options),
    get crashed() {
      return mortal.crashed
    },
  }
}

type Step = 'publish' | 'claim' | 'settle' | 'commit' | 'route'

const STATEMENTS: readonly (readonly [Step, RegExp])[] = [
  ['publish', /\bpublish_all\(|insert into \S*outbox\b/],
  ['claim', /\bclaim(_again|_alone)?\(|\blease_ready\(/],
  ['settle', /\bsettle(_leased)?\(/],
  ['route', /\brelay_cycle\(/],
]

const TOPOLOGY = /\b(exchanges|queues|bindings)\b/

function stepOf(text: string): Step | undefined {
  return STATEMENTS.find(([, pattern]) => pattern.test(text))?.[0]
}

// A transaction that declares, or that has claimed nothing, is none of those whose commit is meant.
function isMeant(passed: ReadonlySet<Step | 'declare'>): boolean {
  return !passed.has('declare') && (!passed.has('claim') || passed.has('settle'))
}

interface Armed {
  readonly point: CrashPoint
  left: number
  readonly happened: () => void
}

class Mortal<Tx> implements Database<Tx> {
  readonly name: string
  readonly #inner: Database<Tx>
  readonly #how: 'sever' | 'kill'
  readonly #open = new Set<Tx>()
  readonly #sessions = new Set<Session>()
  readonly #passed = new WeakMap<object, Set<Step | 'declare'>>()
  #armed: Armed[] = []
  #lost: Error | undefined

  constructor(inner: Database<Tx>, how: 'sever' | 'kill') {
    this.name = inner.name
    this.#inner = inner
    this.#how = how
    if (!inner.session) this.session = undefined as never
  }

  get crashed(): boolean {
    return this.#lost !== undefined
  }

  at(point: CrashPoint, { skip = 0 }: CrashOptions = {}): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#armed.push({ point, left: skip, happened: resolve })
    return promise
  }

  async transaction<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
    this.#alive()
    const result = await this.#inner.transaction(async (tx) => {
      this.#open.add(tx)
      // A driver's transaction may be its connection, which has had others.
      this.#passed.delete(tx as object)
      try {
        const done = await work(tx)
        const meant = isMeant(this.#passedBy(tx))
        if (meant) await this.#reach('before-commit')
        return { done, meant }
      } finally {
        this.#open.delete(tx)
      }
    })
    if (result.meant) await this.#reach('after-commit', () => new CommitUnknown())
    return result.done
  }

  queryable(tx: Tx): Queryable {
    const inner = this.#inner.queryable(tx)
    return {
      query: (text, values, options) => {
        const step = TOPOLOGY.test(text) ? 'declare' : stepOf(text)
        if (step !== undefined) this.#passedBy(tx).add(step)
        return this.#passing(text, () => inner.query(text, values, options))
      },
    }
  }

  async query(text: string, values: readonly unknown[], options?: StatementOptions) {
    return await this.#passing(text, () => this.#inner.query(text, values, options))
  }

  guard(tx: Tx) {
    return this.#inner.guard(tx)
  }

  abandon(tx: Tx): Promise<void> {
    return this.#inner.abandon(tx)
  }

  async session(options: SessionOptions): Promise<Session | NoSession> {
    this.#alive()
    const session = await this.#inner.session!(options)
    if (!('unavailable' in session)) this.#sessions.add(session)
    return session
  }

  async #passing(text: string, query: () => Promise<{ rows: Row[] }>): Promise<{ rows: Row[] }> {
    this.#alive()
    const step = stepOf(text)
    if (step === undefined) return await query()
    await this.#reach(`before-${step}`)
    const result = await query()
    if (step !== 'claim' || result.rows.length > 0) await this.#reach(`after-${step}`)
    return result
  }

  #passedBy(tx: Tx): Set<Step | 'declare'> {
    const passed = this.#passed.get(tx as object) ?? new Set()
    this.#passed.set(tx as object, passed)
    return passed
  }

  async #reach(point: CrashPoint, error?: () => Error): Promise<void> {
    this.#alive()
    const armed = this.#armed.find((each) => each.point === point)
    if (!armed || armed.left-- > 0) return
    this.#armed = this.#armed.filter((each) => each !== armed)
    await this.#die(point)
    armed.happened()
    throw error?.() ?? this.#lost!
  }

  async #die(point: CrashPoint): Promise<void> {
    if (this.#how === 'kill') process.kill(process.pid, 'SIGKILL')
    this.#lost = new ConnectionLost('test', `its process died at the crash point "${point}"`)
    await Promise.all([...this.#open].map((tx) => this.#inner.abandon(tx)))
    await Promise.all([...this.#sessions].map((session) => session.close().catch(() => {})))
  }

  #alive(): void {
    if (this.#lost) throw this.#lost
  }
}
