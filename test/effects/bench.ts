import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { onTestFinished } from 'vitest'
import { defineProvider, type EffectBodies, type RunOptions } from '../../src/effects.ts'
import { type EventName, type Logger, Posthaste, pgDatabase } from '../../src/index.ts'
import type { Topology } from '../../src/rules/topology.ts'
import type { Answer, Psp } from './psp.ts'

const DAY_MS = 86_400_000

export const acme = defineProvider('acme', { keyWindowMs: DAY_MS })
export const stubborn = defineProvider('acme', {
  keyWindowMs: DAY_MS,
  onReplay5xx: 'new-key-after-confirmed-absence',
})

export interface ProcessOptions {
  readonly topology?: Topology
  readonly bodies?: EffectBodies
  readonly max?: number
  /** When it is gone. @default when the test is over */
  readonly finished?: (work: () => Promise<void>) => void
}

/** One process that runs operations: a pool and a Posthaste of its own, gone when the test is over. */
export function processOn(url: string, { topology, bodies, max = 10, finished = onTestFinished }: ProcessOptions = {}) {
  const pool = new pg.Pool({ connectionString: url, max })
  pool.on('error', () => {})
  const story: { readonly name: EventName; readonly event: unknown }[] = []
  const log = (event: object) => void story.push({ name: (event as { event: EventName }).event, event })
  const logger: Logger = { debug: log, info: log, warn: log, error: log }
  const posthaste = new Posthaste({
    database: pgDatabase(pool),
    logger,
    ...(topology && { topology }),
    ...(bodies && { effects: bodies }),
  })
  finished(async () => {
    await posthaste.stop({ timeoutMs: 0 })
    await pool.end()
  })
  const told = (name: EventName) => story.filter((one) => one.name === name).map(({ event }) => event)

  /** In a transaction, with a row of the business. */
  const transaction = async <Result>(work: (tx: pg.PoolClient) => Promise<Result>): Promise<Result> => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      const result = await work(client)
      await client.query('commit')
      return result
    } catch (error) {
      await client.query('rollback').catch(() => {})
      throw error
    } finally {
      client.release()
    }
  }
  return { pool, posthaste, effects: posthaste.effects, told, transaction }
}

export type Process = ReturnType<typeof processOn>

export function operation(): string {
  return `capture:${randomUUID()}`
}

/** A charge of 500 cents with acme. */
export function charging(psp: Psp, cents = 500): RunOptions<Answer> & { provider: typeof acme } {
  return { request: { cents, currency: 'EUR' }, provider: acme, call: psp.capture(cents), reconcile: psp.find }
}

export const LEDGER = 'create table ledger (operation text, cents int)'

/** Runs a charge to its end, as a handler that is attempted again would; the entries are written with the record. */
export async function charge(process: Process, name: string, options: RunOptions<Answer>, cents = 500) {
  const effect = await process.effects.run(name, options)
  if (effect.status !== 'succeeded' && effect.status !== 'failed') return effect
  await process.transaction((tx) =>
    effect.record(tx, async () => {
      if (effect.status === 'succeeded') await tx.query('insert into ledger values ($1, $2)', [name, cents])
    }),
  )
  return effect
}

export async function entries(pool: pg.Pool, name: string): Promise<number> {
  const { rows } = await pool.query('select count(*)::int as n from ledger where operation = $1', [name])
  return rows[0].n
}

/** What the ledger holds of an operation, and the record of it. */
export async function ledgerOf(pool: pg.Pool, name: string) {
  const { rows } = await pool.query('select * from posthaste.effects where operation = $1', [name])
  const attempts = await pool.query('select * from posthaste.effect_attempts where operation = $1 order by id', [name])
  return { ...rows[0], attempts: attempts.rows }
}

/** The lease of an operation lapses now, as its time would. */
export async function lapse(pool: pg.Pool, name: string): Promise<void> {
  await pool.query(
    `update posthaste.effects set lease_until = clock_timestamp() - interval '1 s' where operation = $1`,
    [name],
  )
}

/** The provider's window has closed, as its time would. */
export async function closeWindow(pool: pg.Pool, name: string): Promise<void> {
  await pool.query(`update posthaste.effects set key_since = key_since - interval '2 days' where operation = $1`, [
    name,
  ])
}
