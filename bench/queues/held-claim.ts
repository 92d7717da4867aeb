import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { type Database, defineTopology, type Guarantee, Posthaste, pgDatabase } from '../../src/index.ts'
import type { Queryable } from '../../src/postgres/queryable.ts'
import type { Bench } from '../stand/bench.ts'
import { percentile } from '../stand/runs.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const GUARANTEES: readonly Guarantee[] = ['exactly-once-effects', 'at-least-once', 'at-most-once']
const PER_SECOND = 1_000
const TICK_MS = 100
const CONNECTIONS = 6
const OTHER_MS = 1_000
const SEVERAL = 2

const held = defineTopology({
  queues: Object.fromEntries(
    GUARANTEES.map((name) => [name, { retry: { minMs: OTHER_MS, maxMs: OTHER_MS, jitter: 'none' as const } }]),
  ),
})

interface Claim {
  readonly at: number
  readonly ms: number
}

/**
 * A snapshot is held open for five minutes, so that nothing is vacuumed, while each guarantee has its own 1,000 messages a second, a
 * tenth of them delayed and a tenth retried. The worst of the three: the 99th percentile of its claims in the last minute, as a
 * multiple of that in the first.
 */
export const heldClaim: Workload = {
  name: 'held.claim',
  goals: [{ name: 'held.claim.p99', unit: 'times the first minute', measure: { kind: 'at-most', target: SEVERAL } }],
  deadlineMs: 400_000,
  async run(bench) {
    const [minuteMs, minutes] = bench.quick ? [5_000, 4] : [60_000, 5]
    const database = await bench.database()
    const sides = await Promise.all(GUARANTEES.map((guarantee) => consuming(bench, database, guarantee)))
    const [holder] = await bench.clients(database, 1)
    const relay = new Posthaste({ database: pgDatabase(bench.pool(database, 4)), topology: held })
    await relay.start()
    await Promise.all(sides.map(({ posthaste }) => posthaste.start({ relay: false })))
    await holder!.query('begin isolation level repeatable read')
    await holder!.query('select count(*) from posthaste.ready')
    const publisher = bench.pool(database, 3)
    const startedAt = performance.now()
    await publishing(publisher, relay, startedAt + minutes * minuteMs)
    const endedAt = performance.now()
    await holder!.query('commit')
    holder!.release()
    await Promise.all(sides.map(({ posthaste }) => posthaste.stop({ timeoutMs: 5_000 })))
    await relay.stop()
    const found = sides.map(({ guarantee, claims }) => {
      const first = p99(claims, startedAt, startedAt + minuteMs)
      const last = p99(claims, endedAt - minuteMs, endedAt)
      return { guarantee, claims: claims.length, firstMs: rounded(first), lastMs: rounded(last), ratio: last / first }
    })
    return {
      measured: [
        { name: 'held.claim.p99', ours: Math.max(...found.map(({ ratio }) => ratio)), baseline: null, runs: 1 },
      ],
      report: { seconds: Math.round((endedAt - startedAt) / 1_000), perSecond: PER_SECOND, guarantees: found },
    }
  },
}

async function consuming(bench: Bench, database: string, guarantee: Guarantee) {
  const claims: Claim[] = []
  const pool = bench.pool(database, CONNECTIONS + 2)
  const posthaste = new Posthaste({ database: timed(pgDatabase(pool), claims), topology: held })
  await posthaste.declare({ force: true })
  posthaste.consumer(guarantee, { guarantee, concurrency: CONNECTIONS }).otherwise(({ payload, attempt }) => {
    if ((payload as { n: number }).n % 10 === 0 && attempt === 1 && guarantee !== 'at-most-once')
      throw new Error('again')
  })
  return { guarantee, posthaste, claims }
}

/** How long each claim takes, as its client sees it. */
function timed(database: Database<pg.PoolClient>, claims: Claim[]): Database<pg.PoolClient> {
  return intercepted(database, {
    queryable: (tx: pg.PoolClient) => {
      const queryable = database.queryable(tx)
      return intercepted(queryable, { query: timing(queryable, claims) })
    },
    query: timing(database, claims),
  })
}

function timing(on: Queryable, claims: Claim[]): Queryable['query'] {
  return async (text, values, options) => {
    const at = performance.now()
    const answer = await on.query(text, values, options)
    if (/\.(claim|lease_ready)\(/.test(text)) claims.push({ at, ms: performance.now() - at })
    return answer
  }
}

function intercepted<Target extends object>(target: Target, instead: Partial<Record<keyof Target, unknown>>): Target {
  return new Proxy(target, {
    get: (_, name) => {
      const value = instead[name as keyof Target] ?? target[name as keyof Target]
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

async function publishing(pool: pg.Pool, posthaste: Posthaste<pg.PoolClient>, until: number): Promise<void> {
  const database = pgDatabase(pool)
  let n = 0
  for (let next = performance.now(); next < until; next += TICK_MS) {
    const from = n
    n += (PER_SECOND * TICK_MS) / 1_000
    await Promise.all(
      GUARANTEES.map((queue) => {
        const messages = Array.from({ length: n - from }, (_, i) => ({
          type: queue,
          routingKey: queue,
          payload: { n: from + i },
          ...((from + i) % 10 === 5 && { delayMs: OTHER_MS }),
        }))
        return database.transaction((tx) => posthaste.publish(tx, messages))
      }),
    )
    await sleep(Math.max(0, next + TICK_MS - performance.now()))
  }
}

function p99(claims: readonly Claim[], from: number, to: number): number {
  return percentile(
    claims.filter(({ at }) => at >= from && at < to).map(({ ms }) => ms),
    0.99,
  )
}
