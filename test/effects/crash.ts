import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { startProvider } from '../../examples/payments/psp.ts'
import { PaymentRequested, TABLES, topology } from '../../examples/payments/shop.ts'
import { type EffectAccount, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase } from '../support/database.ts'
import { scratch } from '../support/process.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import type { CrashBrief } from './crash-child.ts'
import type { Point } from './points.ts'

const CHILD = fileURLToPath(new URL('crash-child.ts', import.meta.url))
const WINDOW_MS = 3_600_000

export interface CrashPlan {
  readonly points: readonly Point[]
  /** At each of the points. */
  readonly kills: number
  readonly seed: number
  /** How many processes charge at the same time. */
  readonly processes: number
}

export interface CrashResult {
  readonly kills: { readonly [At in Point]?: number }
  readonly payments: number
  /** Operations that the provider has executed more than once, by its own file. */
  readonly doubleCharges: number
  /** Payments booked more than once. */
  readonly doubleEntries: number
  /** Payments that are neither booked, nor listed as unknown or in review. */
  readonly lost: number
  /** Payments that the provider has executed and that are not booked. */
  readonly unbooked: number
  readonly unresolved: number
  readonly account: EffectAccount
}

/**
 * Charges payments in processes that die at given points, again and again; then lets the rest come to its end, and counts.
 * Each process charges one or two and dies; another takes its place, until so many have died at each point.
 */
export async function crashAt({ points, kills, seed, processes }: CrashPlan): Promise<CrashResult> {
  await using database = await createDatabase()
  using directory = scratch()
  await using provider = await startProvider({
    log: join(directory.path, 'provider.ndjson'),
    delayMs: 4,
    windowMs: WINDOW_MS,
  })
  const pool = new pg.Pool({ connectionString: database.url, max: 5 })
  pool.on('error', () => {})
  await pool.query(TABLES)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
  await posthaste.start({ consumers: false })
  const random = seeded(seed)
  const crew = new Set<ChildProcess>()
  const deaths = Array.from({ length: kills }, () => points).flat()
  const killed: Partial<Record<Point, number>> = {}
  const hire = (point?: Point): ChildProcess => {
    const [after, late] = [1 + Math.floor(random() * 2), random() < 0.5]
    const brief = {
      url: database.url,
      provider: provider.url,
      windowMs: WINDOW_MS,
      after,
      late,
      ...(point && { point }),
    }
    const child = start(brief, join(directory.path, 'cache'))
    crew.add(child)
    return child
  }
  const post = async (): Promise<void> => {
    for (let point = deaths.pop(); point !== undefined; point = deaths.pop()) {
      const child = hire(point)
      const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
      crew.delete(child)
      if (signal === 'SIGKILL') killed[point] = (killed[point] ?? 0) + 1
    }
  }
  const over = new AbortController()
  try {
    const supplied = supply(pool, posthaste, over.signal)
    await Promise.all(Array.from({ length: processes }, post))
    over.abort()
    await supplied
    for (let n = 0; n < 2; n += 1) hire()
    await until(() => settled(pool, posthaste), { timeoutMs: 120_000, what: 'every payment is settled' })
    return { kills: killed, ...(await judge(pool, posthaste, provider.lines())) }
  } finally {
    over.abort()
    await Promise.all([...crew].map(stop))
    await posthaste.stop()
    await pool.end()
  }
}

// What one has compiled is there for the next.
function start(brief: CrashBrief, cache: string): ChildProcess {
  const env = { ...process.env, NODE_COMPILE_CACHE: cache }
  return spawn(process.execPath, [CHILD, JSON.stringify(brief)], { stdio: ['pipe', 'ignore', 'inherit'], env })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.stdin!.end()
  await gone
}

let requested = 0

async function request(pool: pg.Pool, posthaste: Posthaste<pg.PoolClient>, count: number): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    const ids = Array.from({ length: count }, () => `pay_${++requested}`)
    await client.query('insert into shop.payments (id, cents) select id, 500 from unnest($1::text[]) id', [ids])
    await posthaste.publish(
      client,
      ids.map((paymentId) => PaymentRequested.create({ paymentId })),
    )
    await client.query('commit')
  } finally {
    client.release()
  }
}

const WAITING = 20

/** There is always something to die over: new payments, and those whose processes died too often. */
async function supply(pool: pg.Pool, posthaste: Posthaste<pg.PoolClient>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await posthaste.deadLetters.redrive({})
    const { rows } = await pool.query(`select count(*)::int as n from shop.payments where state = 'requested'`)
    if (rows[0].n < WAITING) await request(pool, posthaste, WAITING - rows[0].n)
    await pause(100, undefined, { signal }).catch(() => {})
  }
}

async function settled(pool: pg.Pool, posthaste: Posthaste<pg.PoolClient>): Promise<boolean> {
  const { rows } = await pool.query(`select count(*)::int as n from shop.payments where state = 'requested'`)
  if (rows[0].n > 0) {
    const dead = await posthaste.deadLetters.list({ limit: 1 })
    if (dead.length > 0) await posthaste.deadLetters.redrive({})
    return false
  }
  const { queues } = await posthaste.audit()
  const charging = queues.find(({ queue }) => queue === 'charging')!
  return charging.ready + charging.scheduled + charging.leased === 0
}

async function judge(
  pool: pg.Pool,
  posthaste: Posthaste<pg.PoolClient>,
  lines: ReturnType<Awaited<ReturnType<typeof startProvider>>['lines']>,
): Promise<Omit<CrashResult, 'kills'>> {
  const executions = Map.groupBy(
    lines.filter(({ line }) => line === 'execution'),
    ({ reference }) => reference,
  )
  const { rows } = await pool.query<{ id: string; entries: number; effect: string | null }>(`
    select p.id, (select count(*)::int from shop.ledger l where l.payment_id = p.id) as entries, e.state as effect
    from shop.payments p left join posthaste.effects e on e.operation = 'capture:' || p.id`)
  const open = (effect: string | null) => effect === 'unknown' || effect === 'needs_review'
  return {
    payments: rows.length,
    doubleCharges: [...executions.values()].filter(({ length }) => length > 1).length,
    doubleEntries: rows.filter(({ entries }) => entries > 1).length,
    lost: rows.filter(({ entries, effect }) => entries === 0 && !open(effect)).length,
    unbooked: rows.filter(({ id, entries }) => executions.has(id) && entries === 0).length,
    unresolved: rows.filter(({ effect }) => effect !== 'succeeded').length,
    account: await posthaste.effects.account(),
  }
}
