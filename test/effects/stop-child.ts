// A process that charges, and may stop itself with SIGSTOP at one point, as a paused container would: node stop-child.ts <json>.
// It tells its parent before it stops, and what its run came to. It ends with its parent.
import pg from 'pg'
import { Psp } from '../../examples/payments/psp.ts'
import { defineProvider } from '../../src/effects.ts'
import { Posthaste, pgDatabase } from '../../src/index.ts'

export interface StopBrief {
  readonly url: string
  readonly provider: string
  readonly operations: readonly string[]
  readonly leaseMs: number
  /** Where it stops; it goes through without one. */
  readonly point?: 'after the claim' | 'after the call is begun' | 'during the call'
  /** Goes on until every operation is recorded, instead of running each once. */
  readonly insist?: boolean
}

export type Told = { readonly stopped: true } | { readonly statuses: readonly string[] }

const brief = JSON.parse(process.argv[2]!) as StopBrief
process.on('disconnect', () => process.exit(0))

let stopped = false

/** Its parent knows before it stops: what is sent later would be sent when it goes on. */
async function reach(point: StopBrief['point']): Promise<void> {
  if (stopped || point !== brief.point) return
  stopped = true
  await new Promise<void>((resolve) => process.send!({ stopped: true } satisfies Told, () => resolve()))
  process.kill(process.pid, 'SIGSTOP')
}

const pool = new pg.Pool({ connectionString: brief.url, max: 4 })
pool.on('error', () => {})
const database = pgDatabase(pool)
const query = database.query.bind(database)
database.query = async (...given) => {
  const answer = await query(...given)
  if (given[0].includes('.claim_effect(')) await reach('after the claim')
  if (given[0].includes('.begin_effect_call(')) await reach('after the call is begun')
  return answer
}

class StoppingPsp extends Psp {
  override async capture(...given: Parameters<Psp['capture']>) {
    const asking = super.capture(...given)
    if (brief.point === 'during the call') setTimeout(() => void reach('during the call'), 50)
    return await asking
  }
}

const { effects } = new Posthaste({ database })
const psp = new StoppingPsp(brief.provider)
const acme = defineProvider('acme', { keyWindowMs: 86_400_000 })

async function charge(operation: string): Promise<string> {
  for (;;) {
    const effect = await effects.run(operation, {
      request: { cents: 500 },
      provider: acme,
      leaseMs: brief.leaseMs,
      call: ({ idempotencyKey, signal }) => psp.capture(operation, 500, { idempotencyKey, signal }),
      reconcile: ({ signal }) => psp.find('captures', operation, signal),
    })
    if (effect.status === 'succeeded') {
      await database.transaction((tx) =>
        effect.record(tx, () => tx.query('insert into ledger values ($1, 500)', [operation])),
      )
    }
    if (effect.status !== 'unknown' || !brief.insist) return effect.status
    await new Promise((resolve) => setTimeout(resolve, Math.min(effect.retryAfterMs, 50)))
  }
}

const statuses = await Promise.all(brief.operations.map(charge))
process.send!({ statuses } satisfies Told, () => process.exit(0))
