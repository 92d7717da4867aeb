import type { AttemptError } from '../rules/error-summary.ts'
import type { Positions } from '../rules/position.ts'
import type { Body } from './body.ts'
import { ClaimedRow, claimed, claimedColumns } from './claimed-row.ts'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** A row of ready by which its holder knows it again. */
export interface Place {
  /** As stored: 9 − priority, so that the most urgent sorts first. */
  readonly priority: number
  readonly position: string
}

/** A claimed delivery with its message. */
export interface Claimed extends Place {
  readonly message: string
  readonly messageId: string
  readonly attempts: number
  readonly crashes: number
  readonly history: readonly AttemptError[]
  /** This consumer has processed the message before. */
  readonly duplicate: boolean
  readonly expired: boolean
  /** Its body would have been too much at once: it is in its place again, and will be claimed later. */
  readonly leftOut: boolean
  /** What the log holds of the message; null when it holds it no more. */
  readonly body: Body | null
}

export interface ClaimFrom {
  readonly queue: number
  readonly consumer: string
}

/**
 * Claims up to `limit` deliveries for the transaction it runs in: deleted from ready and noted in the inbox if and only if
 * it commits. Most urgent first, oldest first within one priority; what others hold is skipped, never waited for.
 * `floors` has a position for each of the ten priorities, below which the consumer knows nothing is left.
 */
export function claim(
  t: Tables,
  { queue, consumer, limit, floors }: ClaimFrom & { limit: number; floors: readonly string[] },
): Query<Claimed> {
  return {
    name: 'posthaste.claim',
    text: `select ${claimedColumns()} from ${t.of('claim')}($1, $2, $3, $4::bigint[])`,
    values: [queue, consumer, limit, floors],
    decode: claimed,
    decodeTexts: (texts) => new ClaimedRow(texts),
  }
}

/** Others have all there is to have: when to ask again. */
export interface Blocked {
  readonly waitMs: number
}

/**
 * The claim of a queue whose limits hold over all processes, or whose keys have their turns: as `claim`, or `alone` as `claimAlone`.
 */
export function claimFlowing(
  t: Tables,
  { queue, consumer, limit, floors, alone }: ClaimFrom & { limit: number; floors: readonly string[]; alone: boolean },
): Query<Claimed | Blocked> {
  return {
    name: 'posthaste.claim_flowing',
    text: `select wait_ms, ${claimedColumns('(delivery).')} from ${t.of('claim_flowing')}($1, $2, $3, $4::bigint[], $5)`,
    values: [queue, consumer, limit, floors, alone],
    decode: (row) => (row.wait_ms === null ? claimed(row) : { waitMs: Number(row.wait_ms) }),
  }
}

export interface Tokens {
  readonly granted: number
  /** What unspent ones are given back by; null when there is no limit. */
  readonly at: string | null
  /** When there will be more, if there are none. */
  readonly waitMs: number | null
}

/** So many deliveries may be claimed now, by the rate limit of the queue. To be committed before the claim. */
export function takeTokens(t: Tables, { queue, wanted }: { queue: number; wanted: number }): Query<Tokens> {
  return {
    text: `select granted, at::text as at, wait_ms from ${t.of('take_tokens')}($1, $2)`,
    values: [queue, wanted],
    decode: ({ granted, at, wait_ms }) => ({ granted, at, waitMs: wait_ms === null ? null : Number(wait_ms) }),
  }
}

export function giveTokens(
  t: Tables,
  { queue, at, unspent }: { queue: number; at: string; unspent: number },
): Query<unknown> {
  return { text: `select ${t.of('give_tokens')}($1, $2::timestamptz, $3)`, values: [queue, at, unspent] }
}

/** Claims rows again that a rollback gave back to a process that lives: by position, and nobody is charged. */
export function claimAgain(
  t: Tables,
  { queue, consumer, rows }: ClaimFrom & { rows: readonly Place[] },
): Query<Claimed> {
  return {
    text: `select ${claimedColumns()} from ${t.of('claim_again')}($1, $2, $3::smallint[], $4::bigint[])`,
    values: [queue, consumer, rows.map((row) => row.priority), rows.map((row) => row.position)],
    decode: claimed,
  }
}

/** Claims one delivery that is charged with a crash, to be attempted with no neighbour. */
export function claimAlone(t: Tables, { queue, consumer }: ClaimFrom): Query<Claimed> {
  const text = `select ${claimedColumns()} from ${t.of('claim_alone')}($1, $2)`
  return { text, values: [queue, consumer], decode: claimed }
}

export interface Suspect extends Place {
  readonly messageId: string
  readonly crashes: number
}

/** The lowest row of each priority of a queue that is there for anybody, from these positions on. */
export function lowestReady(
  t: Tables,
  { queue, from }: { queue: number; from: Positions },
): Query<{ readonly lowest: Positions; readonly top: string }> {
  return {
    text: `select lowest::text[] as lowest, top::text as top from ${t.of('lowest_ready')}($1, $2::bigint[])`,
    values: [queue, from],
  }
}

/**
 * Rows between these positions that came back from a claim that did not commit. Seen once, the holder may yet take them again.
 */
export function suspects(
  t: Tables,
  { queue, limit, from, below }: { queue: number; limit: number; from: Positions; below: Positions },
): Query<Suspect> {
  return {
    text: `
      select priority, position::text as position, message_id as "messageId", crashes
      from ${t.of('suspects')}($1, $2, $3::bigint[], $4::bigint[])`,
    values: [queue, limit, from, below],
  }
}

/** The same at the heads of the lines of a queue that is claimed key by key. */
export function suspectsInLines(t: Tables, { queue, limit }: { queue: number; limit: number }): Query<Suspect> {
  return {
    text: `select priority, position::text as position, message_id as "messageId", crashes from ${t.of('suspects_in_lines')}($1, $2)`,
    values: [queue, limit],
  }
}

export interface Charged {
  readonly position: string
  readonly messageId: string
  readonly crashes: number
  readonly dead: boolean
}

/** Charges a crash to each of these rows, in a transaction of its own; beyond `maxCrashes` they become dead letters. */
export function chargeCrashes(
  t: Tables,
  { queue, rows, maxCrashes }: { queue: number; rows: readonly Place[]; maxCrashes: number },
): Query<Charged> {
  return {
    text: `
      select position::text as position, message_id as "messageId", crashes, dead
      from ${t.of('charge_crashes')}($1, $2::smallint[], $3::bigint[], $4)`,
    values: [queue, rows.map((row) => row.priority), rows.map((row) => row.position), maxCrashes],
  }
}
