import pg from 'pg'
import { expectTypeOf, test } from 'vitest'
import { defineProvider, type EffectInReview, type UnknownEffect } from '../../src/effects.ts'
import { Posthaste, pgDatabase } from '../../src/index.ts'

interface Charge {
  id: string
}

const acme = defineProvider('acme', { keyWindowMs: 86_400_000 })
const { effects } = new Posthaste({ database: pgDatabase(new pg.Pool()) })
declare const capture: (key: string) => Promise<Charge>
declare const find: (key: string) => Promise<Charge | undefined>
declare const tx: pg.PoolClient

const charging = () =>
  effects.run('capture:1', {
    request: { cents: 500 },
    provider: acme,
    call: async ({ idempotencyKey, failed }) => {
      const charge = await capture(idempotencyKey)
      return charge.id === '' ? failed({ code: 'card_declined' }) : charge
    },
    reconcile: ({ idempotencyKey }) => find(idempotencyKey),
  })

test('the response can be reached only where it is known that it happened', async () => {
  const charge = await charging()
  // @ts-expect-error: it may be unknown
  charge.response
  // @ts-expect-error: an unknown outcome cannot be recorded
  void charge.record(tx)
  if (charge.status === 'succeeded') {
    expectTypeOf(charge.response).toEqualTypeOf<Charge>()
    expectTypeOf(charge.record(tx, async () => 7)).toEqualTypeOf<
      Promise<{ readonly status: 'recorded'; readonly value: number } | { readonly status: 'duplicate' }>
    >()
  }
})

test('the unknown outcome is impossible to forget: what is left after success and failure has no way to be recorded', async () => {
  const charge = await charging()
  if (charge.status === 'succeeded' || charge.status === 'failed') return
  expectTypeOf(charge).toEqualTypeOf<UnknownEffect | EffectInReview>()
  const book = (known: { record: unknown }) => known
  // @ts-expect-error: neither of them is known
  book(charge)
})

test('a refusal carries what the call made it of', async () => {
  const charge = await charging()
  if (charge.status === 'failed' && charge.reason === 'declined') {
    expectTypeOf(charge.failure).toEqualTypeOf<{ code: string }>()
  }
})

test('a call without refusals has none, and may be undone by a person all the same', async () => {
  const sent = await effects.run('mail:1', { request: 1, effect: 'at-most-once', call: async () => 'sent' as const })
  if (sent.status === 'succeeded') expectTypeOf(sent.response).toEqualTypeOf<'sent'>()
  if (sent.status === 'failed') expectTypeOf(sent.reason).toEqualTypeOf<'expired' | 'resolved'>()
})

test('one of provider and effect is to be chosen', () => {
  const call = async () => 'sent'
  // @ts-expect-error: neither
  void effects.run('a', { request: 1, call })
  // @ts-expect-error: both
  void effects.run('a', { request: 1, call, provider: acme, effect: 'idempotent' })
  void effects.run('a', { request: 1, call, provider: { keyWindowMs: 86_400_000, onReplay5xx: 'reconcile' } })
})

test('a question answers what the call would have answered, or nothing', () => {
  void effects.run('a', {
    request: 1,
    provider: acme,
    call: async () => ({ id: '1' }),
    // @ts-expect-error: another shape
    reconcile: async () => ({ number: 1 }),
  })
})
