import type pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineProvider, defineTopology, type Posthaste, type ProviderOptions } from '../../src/index.ts'
import { type Psp, PspError } from './psp.ts'

export const PaymentRequested = defineMessage('payment.requested', z.object({ paymentId: z.string() }), {
  exchange: 'payments',
  key: ({ paymentId }) => paymentId,
})

export const PaymentSettled = defineMessage(
  'payment.settled',
  z.object({ paymentId: z.string(), outcome: z.enum(['charged', 'declined', 'in_review']) }),
  { exchange: 'payments', key: ({ paymentId }) => paymentId },
)

export const topology = defineTopology({
  exchanges: { payments: 'topic' },
  queues: {
    charging: { from: [PaymentRequested], retry: { minMs: 50, maxMs: 800, maxAttempts: 14 } },
    receipts: { from: [PaymentSettled], retry: { minMs: 50, maxMs: 800, maxAttempts: 14 } },
  },
})

/** No unique key on the payment in the ledger or among the receipts: what happens twice is seen twice. */
export const TABLES = `
  create schema shop;
  create table shop.payments (
    id text primary key,
    cents integer not null,
    state text not null default 'requested',
    requested_at timestamptz not null default clock_timestamp()
  );
  create table shop.ledger (payment_id text not null, cents integer not null, at timestamptz not null default clock_timestamp());
  create table shop.receipts (payment_id text not null, outcome text not null)`

/** The provider's rules, as its documentation would give them. */
export function acme(windowMs: number): ProviderOptions {
  return defineProvider('acme', { keyWindowMs: windowMs, onReplay5xx: 'new-key-after-confirmed-absence' })
}

export interface ChargingOptions {
  readonly psp: Psp
  readonly provider: ProviderOptions
  readonly concurrency?: number
}

/** How long the provider may take, and how soon another process goes on when one has died. */
const CALL_MS = 400
const LEASE_MS = 1_000

/**
 * Charges what was requested: the amount is the row's, the call goes through the ledger, and what comes of it is written in one
 * transaction with the payment's state, the ledger entry, the message for the receipt and the end of the delivery.
 */
export function chargeRequested(
  posthaste: Posthaste<pg.PoolClient, 'charging' | 'receipts'>,
  pool: pg.Pool,
  { psp, provider, concurrency = 4 }: ChargingOptions,
): void {
  const consumer = posthaste.consumer('charging', {
    guarantee: 'at-least-once',
    concurrency,
    batchSize: 1,
    leaseMs: LEASE_MS,
    timeoutMs: 2_000,
    providers: [provider],
  })

  consumer.on(PaymentRequested, async (delivery, { complete }) => {
    const { paymentId } = delivery.payload
    const { rows } = await pool.query('select cents from shop.payments where id = $1', [paymentId])
    const cents: number = rows[0].cents

    const charge = await posthaste.effects.run(`capture:${paymentId}`, {
      request: { cents, currency: 'EUR' },
      provider,
      timeoutMs: CALL_MS,
      leaseMs: LEASE_MS,
      call: async ({ idempotencyKey, signal, failed }) => {
        try {
          return await psp.capture(paymentId, cents, { idempotencyKey, signal })
        } catch (error) {
          if (error instanceof PspError && error.status === 402) return failed({ code: error.code })
          throw error
        }
      },
      reconcile: ({ signal }) => psp.find('captures', paymentId, signal),
    })

    if (charge.status === 'unknown') return delivery.retry({ delayMs: Math.min(charge.retryAfterMs, 500) })
    const settle = async (tx: pg.PoolClient, outcome: 'charged' | 'declined' | 'in_review') => {
      await tx.query('update shop.payments set state = $2 where id = $1', [paymentId, outcome])
      if (outcome === 'charged')
        await tx.query('insert into shop.ledger (payment_id, cents) values ($1, $2)', [paymentId, cents])
      return PaymentSettled.create({ paymentId, outcome })
    }
    if (charge.status === 'needs_review') {
      await complete(async (tx, publish) => void (await publish(await settle(tx, 'in_review'))))
      return
    }
    await complete((tx, publish) =>
      charge.record(tx, async () => {
        await publish(await settle(tx, charge.status === 'succeeded' ? 'charged' : 'declined'))
      }),
    )
  })
}

/** Writes a receipt for what was settled, in the transaction of the delivery. */
export function sendReceipts(posthaste: Posthaste<pg.PoolClient, 'charging' | 'receipts'>): void {
  posthaste.consumer('receipts', { concurrency: 2 }).on(PaymentSettled, async ({ payload }, { tx }) => {
    await tx.query('insert into shop.receipts (payment_id, outcome) values ($1, $2)', [
      payload.paymentId,
      payload.outcome,
    ])
  })
}
