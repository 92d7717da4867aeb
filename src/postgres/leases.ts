import { timeFrom } from '../rules/driver-values.ts'
import type { Blocked, Claimed } from './claim.ts'
import { claimed, claimedColumns } from './claimed-row.ts'
import type { Query, Row } from './queryable.ts'
import { outcomesJson, type Settled } from './settle.ts'
import type { Tables } from './tables.ts'

/** One delivery of a lease; the first three columns are the same on every row of a batch. */
export interface Leased {
  readonly lease: string
  readonly token: string
  readonly expiresAt: Date
  readonly delivery: Claimed
}

export interface LeaseOf {
  readonly queue: number
  readonly consumer: string
  readonly limit: number
  readonly leaseMs: number
  readonly floors: readonly string[]
  readonly holder: string
  /** Of a queue whose breaker is open: the try. @default false */
  readonly probe?: boolean
}

/**
 * Leases up to `limit` deliveries by the database's clock. The attempt is counted here, so a process that dies has used it.
 * `duplicate` says that the consumer's inbox has the message already.
 */
export function lease(t: Tables, of: LeaseOf): Query<Leased> {
  return { ...leasing(t, of), decode: leased }
}

/** The same of a queue that may have limits. */
export function leaseOrWait(t: Tables, of: LeaseOf): Query<Leased | Blocked> {
  const decode = (row: Row) => (row.lease === null ? { waitMs: Math.max(1, Number(row.wait_ms)) } : leased(row))
  return { ...leasing(t, of), decode }
}

function leasing(t: Tables, of: LeaseOf): Pick<Query<never>, 'text' | 'values'> {
  return {
    text: `
      select lease, token, expires_at as "leaseExpiresAt", extract(epoch from expires_at - clock_timestamp()) * 1000 as wait_ms,
             ${claimedColumns('(delivery).')}
      from ${t.of(of.probe ? 'lease_now' : 'lease_ready')}($1, $2, $3, $4::bigint[], $5, $6)`,
    values: [of.queue, of.limit, of.leaseMs, of.floors, of.holder, of.consumer],
  }
}

function leased(row: Row): Leased {
  return {
    lease: String(row.lease),
    token: row.token,
    expiresAt: timeFrom(row.leaseExpiresAt),
    delivery: claimed(row),
  }
}

/** What was leased, and when to ask again where others have all there is to have. */
export function sortedOut(answers: readonly (Leased | Blocked)[]): {
  readonly leased: readonly Leased[]
  readonly waitMs: number | undefined
} {
  return {
    leased: answers.filter((answer): answer is Leased => !('waitMs' in answer)),
    waitMs: answers.find((answer): answer is Blocked => 'waitMs' in answer)?.waitMs,
  }
}

export interface LeaseHeld {
  readonly lease: string
  readonly token: string
}

/**
 * Settles deliveries of a lease that is still held; returns the positions settled. Fewer than given: the lease has lapsed,
 * is not yours, or settled them before. `inbox` notes completed messages as processed in the same transaction.
 */
export function settleLeased(
  t: Tables,
  {
    lease,
    token,
    consumer,
    outcomes,
    inbox,
  }: LeaseHeld & { consumer: string; outcomes: readonly Settled[]; inbox: boolean },
): Query<{ position: string }> {
  return {
    text: `select position::text as position from ${t.of('settle_leased')}($1, $2, $3, $4::text::jsonb, $5) position`,
    values: [lease, token, consumer, outcomesJson(outcomes), inbox],
  }
}

/** Gives deliveries back unattempted: due at once unless a delay is given, and the attempt is taken off. */
export function releaseLeased(
  t: Tables,
  { lease, token, positions, delayMs = 0 }: LeaseHeld & { positions: readonly string[]; delayMs?: number },
): Query<{ position: string }> {
  return {
    text: `select position::text as position from ${t.of('release_leased')}($1, $2, $3::bigint[], $4) position`,
    values: [lease, token, positions, delayMs],
  }
}

/** Renews a lease that is still held. No row: it is lost. */
export function extendLease(
  t: Tables,
  { lease, token, leaseMs }: LeaseHeld & { leaseMs: number },
): Query<{ expiresAt: Date }> {
  return {
    text: `select expires_at as "expiresAt" from ${t.of('extend_lease')}($1, $2, $3) expires_at`,
    values: [lease, token, leaseMs],
    decode: ({ expiresAt }) => ({ expiresAt: timeFrom(expiresAt) }),
  }
}
