import type pg from 'pg'
import type { Posthaste } from '../../src/index.ts'
import type { ProviderLine } from './provider.ts'

/** What became of every payment, by the shop's tables, the effect ledger and the provider's own file. */
export interface Findings {
  readonly payments: number
  readonly charged: number
  readonly declined: number
  readonly inReview: number
  readonly lost: number
  readonly doubleCharges: number
  readonly capturedCents: number
  readonly ledgerCents: number
  readonly inReviewCapturedCents: number
}

/** What must hold; each in words, for the one that does not. */
export interface Holds {
  readonly findings: Findings
  readonly broken: readonly string[]
}

interface PaymentRow {
  readonly id: string
  readonly cents: number
  readonly state: string
  readonly entries: number
  readonly receipts: number
  readonly effect: string | null
  /** It was put in review when the provider's window had closed. */
  readonly closed: boolean | null
}

export interface AuditOptions {
  readonly payments: number
  readonly lines: readonly ProviderLine[]
}

export async function audit(
  pool: pg.Pool,
  posthaste: Posthaste<pg.PoolClient, never>,
  { payments, lines }: AuditOptions,
): Promise<Holds> {
  const { rows } = await pool.query<PaymentRow>(PAYMENTS)
  const captures = lines.filter((line) => line.line === 'execution' && line.kind === 'captures')
  const executions = Map.groupBy(captures, ({ reference }) => reference)
  const sum = (list: readonly { readonly cents: number }[]) => list.reduce((total, { cents }) => total + cents, 0)
  const { rows: ledger } = await pool.query('select coalesce(sum(cents), 0)::int8::float8 as cents from shop.ledger')

  const charged = rows.filter(({ entries }) => entries > 0)
  const declined = rows.filter(({ entries, state }) => entries === 0 && state === 'declined')
  const inReview = rows.filter(({ entries, effect }) => entries === 0 && effect === 'needs_review')
  const findings: Findings = {
    payments,
    charged: charged.length,
    declined: declined.length,
    inReview: inReview.length,
    lost: payments - charged.length - declined.length - inReview.length,
    doubleCharges: [...executions.values()].filter(({ length }) => length > 1).length,
    capturedCents: sum(captures),
    ledgerCents: ledger[0].cents,
    inReviewCapturedCents: sum(inReview.flatMap(({ id }) => executions.get(id) ?? [])),
  }

  const { difference } = await posthaste.audit()
  const { overdue, unrecorded, contradicted, unknown } = await posthaste.effects.account()
  const checks: [string, boolean][] = [
    [`payments lost: ${findings.lost}`, findings.lost === 0],
    [`operations executed more than once: ${findings.doubleCharges}`, findings.doubleCharges === 0],
    [
      `captured ${findings.capturedCents} cents, booked ${findings.ledgerCents}, in review ${findings.inReviewCapturedCents}`,
      findings.capturedCents === findings.ledgerCents + findings.inReviewCapturedCents,
    ],
    ['a payment was booked more than once', rows.every(({ entries }) => entries <= 1)],
    ['a payment has not exactly one receipt', rows.every(({ receipts }) => receipts === 1)],
    ['a declined payment was executed', declined.every(({ id }) => !executions.has(id))],
    ['a payment is in review although the provider remembers its key', inReview.every(({ closed }) => closed === true)],
    ['more than one payment in a hundred is in review', inReview.length <= payments / 100],
    [`${overdue + unrecorded + unknown} operations are unfinished`, overdue + unrecorded + unknown === 0],
    [`${contradicted} operations contradict the provider`, contradicted === 0],
    [`the account of the messages has a difference of ${difference}`, difference === 0],
  ]
  return { findings, broken: checks.filter(([, holds]) => !holds).map(([words]) => words) }
}

const PAYMENTS = `
  select p.id, p.cents, p.state, e.state as effect,
         e.changed_at >= e.key_since + e.key_window_ms * interval '1 ms' - interval '1 s' as closed,
         (select count(*)::int from shop.ledger l where l.payment_id = p.id) as entries,
         (select count(*)::int from shop.receipts r where r.payment_id = p.id) as receipts
  from shop.payments p
  left join posthaste.effects e on e.operation = 'capture:' || p.id`
