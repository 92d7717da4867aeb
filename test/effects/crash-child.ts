// A process that charges, made to be killed by itself at one point: node crash-child.ts <json>. It ends with its parent.
import { flushCompileCache } from 'node:module'
import pg from 'pg'
import { Psp } from '../../examples/payments/psp.ts'
import { acme, chargeRequested, topology } from '../../examples/payments/shop.ts'
import { type Database, Posthaste, pgDatabase } from '../../src/index.ts'
import type { Point } from './points.ts'

export interface CrashBrief {
  readonly url: string
  readonly provider: string
  readonly windowMs: number
  /** Nobody is killed without one. */
  readonly point?: Point
  /** The how-manieth operation to reach the point is the last. */
  readonly after: number
  /** Decides between the two sides of a moment that has no width. */
  readonly late: boolean
}

const brief = JSON.parse(process.argv[2]!) as CrashBrief
process.stdin.resume().on('end', () => process.exit(0))

let left = brief.after

function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

function reach(point: Point): void {
  if (point !== brief.point) return
  left -= 1
  if (left <= 0) die()
}

const STATEMENTS: readonly [string, { readonly before?: Point; readonly after?: Point }][] = [
  ['.claim_effect(', { before: 'before the claim commits', after: 'after the claim' }],
  ['.begin_effect_call(', { after: 'after the call is begun' }],
  ['.end_effect_call(', { after: 'after the answer is written down' }],
]

/** The database as it is, with an eye on what the ledger says to it. */
function watched(database: Database<pg.PoolClient>): Database<pg.PoolClient> {
  return new Proxy(database, {
    get(target, key) {
      if (key === 'query') return query
      if (key === 'transaction') return transaction
      const value = Reflect.get(target, key) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

  async function query(...given: Parameters<Database<pg.PoolClient>['query']>) {
    const points = STATEMENTS.find(([words]) => given[0].includes(words))?.[1]
    // either before the statement is sent, or when it is on its way and may be committed or not
    if (points?.before && !brief.late) reach(points.before)
    const asking = database.query(...given)
    if (points?.before && brief.late) setImmediate(() => reach(points.before!))
    const answer = await asking
    if (points?.after) reach(points.after)
    return answer
  }

  async function transaction<Result>(work: (tx: pg.PoolClient) => Promise<Result>): Promise<Result> {
    const result = await database.transaction(async (tx) => {
      const done = await work(tx)
      reach('before the recording commit')
      return done
    })
    reach('after the recording commit')
    return result
  }
}

class DyingPsp extends Psp {
  override async capture(...given: Parameters<Psp['capture']>) {
    const asking = super.capture(...given)
    if (brief.point === 'during the call') setTimeout(() => reach('during the call'), brief.late ? 6 : 2)
    const answer = await asking
    reach('after the call')
    return answer
  }
}

const pool = new pg.Pool({ connectionString: brief.url, max: 6 })
pool.on('error', () => {})
const posthaste = new Posthaste({ database: watched(pgDatabase(pool)), topology })
chargeRequested(posthaste, pool, { psp: new DyingPsp(brief.provider), provider: acme(brief.windowMs), concurrency: 2 })
await posthaste.start({ relay: false })
flushCompileCache()
