import { timeFrom, timeOrNull } from '../rules/driver-values.ts'
import type { EffectKind, EffectOutcome, EffectState, EffectWant } from '../rules/effect.ts'
import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/** A row of the ledger. The response is as it is stored: JSON, or what your `seal` made of it. */
export interface EffectRow {
  readonly operation: string
  readonly state: EffectState
  readonly kind: EffectKind
  readonly provider: string | undefined
  readonly token: string
  readonly holder: string
  readonly leaseUntil: Date | undefined
  readonly keyNumber: number
  readonly providerKey: string
  /** When the provider may first have seen the key. */
  readonly keySince: Date | undefined
  /** When the provider may forget it. */
  readonly windowUntil: Date | undefined
  readonly keyCalls: number
  readonly keyErrors: number
  readonly calls: number
  readonly outcome: EffectOutcome | undefined
  readonly reason: string | undefined
  readonly response: string | undefined
  readonly sealed: boolean
  readonly contradicted: boolean
  readonly startedAt: Date
  readonly changedAt: Date
  readonly knownAt: Date | undefined
  readonly endedAt: Date | undefined
}

export interface Claim {
  readonly verdict: 'claimed' | 'ended' | 'busy' | 'different'
  readonly effect: EffectRow
  readonly leaseLeftMs: number | undefined
  readonly windowLeftMs: number | undefined
}

export interface ClaimOf {
  readonly operation: string
  readonly kind: EffectKind
  readonly provider: string | undefined
  readonly fingerprint: string
  readonly providerKey: string
  readonly windowMs: number | undefined
  readonly claim: string
  readonly worker: string
  readonly leaseMs: number
}

/** The first durable write before a call; asked twice with the same `claim` it is one. */
export function claimEffect(t: Tables, of: ClaimOf): Query<Claim> {
  return {
    text: `
      select verdict, lease_left_ms, window_left_ms, ${columnsOf('(effect)')}
      from ${t.of('claim_effect')}($1, $2, $3, $4, $5::text::uuid, $6, $7::text::uuid, $8, $9)`,
    values: [
      of.operation,
      of.kind,
      of.provider ?? null,
      of.fingerprint,
      of.providerKey,
      of.windowMs ?? null,
      of.claim,
      of.worker,
      of.leaseMs,
    ],
    decode: (row) => ({
      verdict: row.verdict,
      effect: effectOf(row),
      leaseLeftMs: numberOf(row.lease_left_ms),
      windowLeftMs: numberOf(row.window_left_ms),
    }),
  }
}

/** What every write of a claim carries: without it, it is another's. */
export interface ClaimHeld {
  readonly operation: string
  readonly token: string
}

/** False: the claim is another's. */
export function renewEffect(
  t: Tables,
  { operation, token, leaseMs }: ClaimHeld & { leaseMs: number },
): Query<{ renewed: boolean }> {
  return { text: `select ${t.of('renew_effect')}($1, $2, $3) as renewed`, values: [operation, token, leaseMs] }
}

export type Begun = 'begun' | 'lost' | 'known' | 'closed' | 'expired'

/** The last look before a call, and the note that it may have been made. Only `begun` allows it. */
export function beginEffectCall(
  t: Tables,
  of: ClaimHeld & { call: string; worker: string; leaseMs: number; marginMs: number; notAfter: Date | undefined },
): Query<{ begun: Begun }> {
  return {
    text: `select ${t.of('begin_effect_call')}($1, $2, $3::text::uuid, $4, $5, $6, $7::text::timestamptz) as begun`,
    values: [of.operation, of.token, of.call, of.worker, of.leaseMs, of.marginMs, of.notAfter?.toISOString() ?? null],
  }
}

export interface EvidenceOf extends ClaimHeld {
  readonly call: string
  readonly event: 'answered' | 'reconciled'
  readonly worker: string
  readonly providerKey: string
  readonly outcome: EffectOutcome | 'unknown' | 'absent'
  readonly reason: string | undefined
  readonly status: number | undefined
  readonly response: string | undefined
  readonly sealed: boolean
  readonly leaseMs: number
  readonly release: boolean
}

export interface Evidence {
  /** The claim had been lost. */
  readonly late: boolean
  /** This made it known. */
  readonly fresh: boolean
  readonly known: EffectOutcome | undefined
  readonly contradicted: boolean
}

/** Writes down what the provider said, whoever holds the claim by now; written twice it is once. */
export function endEffectCall(t: Tables, of: EvidenceOf): Query<Evidence> {
  return {
    text: `
      select late, fresh, known, contradicted
      from ${t.of('end_effect_call')}($1, $2, $3::text::uuid, $4, $5, $6::text::uuid, $7, $8, $9, $10, $11, $12, $13)`,
    values: [
      of.operation,
      of.token,
      of.call,
      of.event,
      of.worker,
      of.providerKey,
      of.outcome,
      of.reason ?? null,
      of.status ?? null,
      of.response ?? null,
      of.sealed,
      of.leaseMs,
      of.release,
    ],
    decode: ({ late, fresh, known, contradicted }) => ({ late, fresh, known: known ?? undefined, contradicted }),
  }
}

/** A new provider key for an operation that is known not to have happened. False: it is not ours to give. */
export function renewEffectKey(
  t: Tables,
  of: ClaimHeld & { worker: string; keyNumber: number; providerKey: string },
): Query<{ renewed: boolean }> {
  return {
    text: `select ${t.of('renew_effect_key')}($1, $2, $3, $4::integer::smallint, $5::text::uuid) as renewed`,
    values: [of.operation, of.token, of.worker, of.keyNumber, of.providerKey],
  }
}

/** Nothing may be repeated, and nobody can say what happened. False: the claim is another's. */
export function reviewEffect(
  t: Tables,
  of: ClaimHeld & { worker: string; reason: string },
): Query<{ reviewed: boolean }> {
  return {
    text: `select ${t.of('review_effect')}($1, $2, $3, $4) as reviewed`,
    values: [of.operation, of.token, of.worker, of.reason],
  }
}

export type RecordedAs = 'recorded' | 'duplicate' | 'lost'

/** Records the outcome in the caller's transaction. */
export function recordEffect(t: Tables, of: ClaimHeld & { worker: string }): Query<{ recorded: RecordedAs }> {
  return {
    text: `select ${t.of('record_effect')}($1, $2, $3) as recorded`,
    values: [of.operation, of.token, of.worker],
  }
}

export interface OutcomeFromElsewhere {
  readonly operation: string
  readonly as: EffectOutcome
  readonly response: string | undefined
  readonly sealed: boolean
  readonly by: string
  readonly reason: string | undefined
}

export type RecordedFromElsewhere = 'recorded' | 'duplicate' | 'missing' | 'contradicted'

/** Records an outcome that was learned elsewhere, in the caller's transaction. */
export function recordEffectFromElsewhere(
  t: Tables,
  of: OutcomeFromElsewhere,
): Query<{ recorded: RecordedFromElsewhere }> {
  return {
    text: `select ${t.of('record_effect_from_elsewhere')}($1, $2, $3, $4, $5, $6) as recorded`,
    values: [of.operation, of.as, of.response ?? null, of.sealed, of.by, of.reason ?? null],
  }
}

export interface ResolutionOf {
  readonly operation: string
  readonly as: EffectOutcome | 'retry'
  readonly response: string | undefined
  readonly sealed: boolean
  readonly by: string
  readonly reason: string
  readonly keyNumber: number
  readonly providerKey: string
}

export type ResolvedAs = 'resolved' | 'missing' | 'ended' | 'busy' | 'contradicted' | 'exhausted' | 'changed'

/** What a person found out about an operation. */
export function resolveEffect(t: Tables, of: ResolutionOf): Query<{ resolved: ResolvedAs }> {
  return {
    text: `select ${t.of('resolve_effect')}($1, $2, $3, $4, $5, $6, $7::integer::smallint, $8::text::uuid) as resolved`,
    values: [of.operation, of.as, of.response ?? null, of.sealed, of.by, of.reason, of.keyNumber, of.providerKey],
  }
}

/** A row, and why it wants somebody. */
export interface WantingRow extends EffectRow {
  readonly wants: EffectWant | undefined
}

/** Which operations; what is left out is not looked at. */
export interface EffectsWhere {
  readonly states: readonly EffectState[] | undefined
  /** Only what wants somebody, for one of these reasons. */
  readonly wants: readonly EffectWant[] | undefined
  readonly provider: string | undefined
  /** Unchanged for so long. */
  readonly olderThanMs: number | undefined
  readonly startingWith: string | undefined
  /** Continues a list: what comes after this operation. */
  readonly after: string | undefined
}

/** Operations, the longest unchanged first. */
export function listEffects(t: Tables, where: EffectsWhere, limit: number): Query<WantingRow> {
  const values: unknown[] = []
  const param = (value: unknown) => `$${values.push(value)}`
  const conditions = conditionsOf(t, where, param)
  return {
    text: `
      select ${columnsOf('e')}, ${t.of('effect_wants')}(e) as wants
      from ${t.of('effects')} e
      where ${conditions.length > 0 ? conditions.join(' and ') : 'true'}
      order by e.changed_at, e.operation
      limit ${param(limit)}::integer`,
    values,
    decode: wantingOf,
  }
}

/** One operation. */
export function showEffect(t: Tables, operation: string): Query<WantingRow> {
  return {
    text: `
      select ${columnsOf('e')}, ${t.of('effect_wants')}(e) as wants
      from ${t.of('effects')} e
      where e.operation = $1`,
    values: [operation],
    decode: wantingOf,
  }
}

/** One line of the record of an operation. */
export interface EffectAttemptRow {
  readonly id: string
  readonly event: string
  readonly at: Date
  readonly token: string
  readonly worker: string
  readonly call: string | undefined
  readonly providerKey: string
  readonly requestHash: string
  /** It came from a claim that had been lost. */
  readonly late: boolean
  readonly outcome: string | undefined
  readonly reason: string | undefined
  readonly status: number | undefined
  readonly response: string | undefined
  readonly sealed: boolean
}

/** What was tried, oldest first. */
export function effectAttempts(t: Tables, operation: string): Query<EffectAttemptRow> {
  return {
    text: `select * from ${t.of('effect_attempts')} where operation = $1 order by id`,
    values: [operation],
    decode: (row) => ({
      id: String(row.id),
      event: row.event,
      at: row.at,
      token: String(row.token),
      worker: row.worker,
      call: row.call ?? undefined,
      providerKey: row.provider_key,
      requestHash: row.fingerprint,
      late: row.late,
      outcome: row.outcome ?? undefined,
      reason: row.reason ?? undefined,
      status: row.status ?? undefined,
      response: row.response ?? undefined,
      sealed: row.sealed,
    }),
  }
}

export interface EffectAccountRow {
  /** Begun, and not ended yet. */
  readonly started: number
  /** Done. */
  readonly succeeded: number
  /** Definitely not done. */
  readonly failed: number
  /** Nobody knows yet; asked for, or repeated with the same key. */
  readonly unknown: number
  /** A person has to say. */
  readonly needsReview: number
  /** Begun longer ago than a call may take. */
  readonly overdue: number
  /** Known, and not recorded with your rows. */
  readonly unrecorded: number
  /** Done twice, or done after it was recorded as failed. */
  readonly contradicted: number
}

/** How many operations are in which state, and what wants somebody. */
export function effectAccount(t: Tables): Query<EffectAccountRow> {
  return {
    text: `select * from ${t.of('effect_account')}()`,
    values: [],
    decode: (row) => ({
      started: Number(row.started),
      succeeded: Number(row.succeeded),
      failed: Number(row.failed),
      unknown: Number(row.unknown),
      needsReview: Number(row.needs_review),
      overdue: Number(row.overdue),
      unrecorded: Number(row.unrecorded),
      contradicted: Number(row.contradicted),
    }),
  }
}

/** What wants somebody, and since when. */
export interface EffectAttention {
  readonly unknown: number
  readonly needsReview: number
  readonly overdue: number
  readonly unrecorded: number
  readonly contradicted: number
  /** How long the one that has waited longest has not changed; null when nothing wants anybody. */
  readonly oldestMs: number | null
}

/** What wants somebody, counted from what is open alone: as quick after a million operations as after ten. */
export function effectAttention(t: Tables): Query<EffectAttention> {
  return {
    text: `select * from ${t.of('effect_attention')}()`,
    values: [],
    decode: (row) => ({
      unknown: Number(row.unknown),
      needsReview: Number(row.needs_review),
      overdue: Number(row.overdue),
      unrecorded: Number(row.unrecorded),
      contradicted: Number(row.contradicted),
      oldestMs: numberOf(row.oldest_ms) ?? null,
    }),
  }
}

/** Erases bodies of operations that ended before a time, a thousand at once. */
export function eraseEffects(t: Tables, before: Date): Query<{ erased: number }> {
  return {
    text: `select ${t.of('erase_effects')}($1::text::timestamptz) as erased`,
    values: [before.toISOString()],
  }
}

const COLUMNS = [
  'operation',
  'state',
  'kind',
  'provider',
  'token',
  'holder',
  'lease_until',
  'key_number',
  'provider_key',
  'key_since',
  'key_window_ms',
  'key_calls',
  'key_errors',
  'calls',
  'outcome',
  'reason',
  'response',
  'sealed',
  'contradicted',
  'started_at',
  'changed_at',
  'known_at',
  'ended_at',
] as const

function columnsOf(from: string): string {
  return COLUMNS.map((column) => `${from}.${column}`).join(', ')
}

function conditionsOf(
  t: Tables,
  { states, wants, provider, olderThanMs, startingWith, after }: EffectsWhere,
  param: (value: unknown) => string,
): string[] {
  const conditions: string[] = []
  if (states) conditions.push(`e.state = any (${param(states)}::text[])`)
  if (wants) conditions.push(`${OPEN} and ${t.of('effect_wants')}(e) = any (${param(wants)}::text[])`)
  if (provider !== undefined) conditions.push(`e.provider = ${param(provider)}`)
  if (olderThanMs !== undefined)
    conditions.push(`e.changed_at < clock_timestamp() - ${param(olderThanMs)} * interval '1 ms'`)
  if (startingWith !== undefined) conditions.push(`starts_with(e.operation, ${param(startingWith)})`)
  if (after !== undefined) {
    const last = `select l.changed_at, l.operation from ${t.of('effects')} l where l.operation = ${param(after)}`
    conditions.push(`(e.changed_at, e.operation) > (${last})`)
  }
  return conditions
}

// The predicate of the index effects_open: nothing that wants somebody lies outside of it.
const OPEN = `(e.state in ('started', 'unknown', 'needs_review') or e.contradicted)`

function effectOf(row: Row): EffectRow {
  const keySince = timeOrNull(row.key_since) ?? undefined
  const windowed = keySince !== undefined && row.key_window_ms !== null
  return {
    operation: row.operation,
    state: row.state,
    kind: row.kind,
    provider: row.provider ?? undefined,
    token: String(row.token),
    holder: row.holder,
    leaseUntil: timeOrNull(row.lease_until) ?? undefined,
    keyNumber: row.key_number,
    providerKey: row.provider_key,
    keySince,
    windowUntil: windowed ? new Date(keySince.getTime() + row.key_window_ms) : undefined,
    keyCalls: row.key_calls,
    keyErrors: row.key_errors,
    calls: row.calls,
    outcome: row.outcome ?? undefined,
    reason: row.reason ?? undefined,
    response: row.response ?? undefined,
    sealed: row.sealed,
    contradicted: row.contradicted,
    startedAt: timeFrom(row.started_at),
    changedAt: timeFrom(row.changed_at),
    knownAt: timeOrNull(row.known_at) ?? undefined,
    endedAt: timeOrNull(row.ended_at) ?? undefined,
  }
}

function wantingOf(row: Row): WantingRow {
  return { ...effectOf(row), wants: row.wants ?? undefined }
}

function numberOf(value: unknown): number | undefined {
  return value === null || value === undefined ? undefined : Number(value)
}
