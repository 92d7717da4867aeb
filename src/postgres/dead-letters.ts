import { sql } from 'kysely'
import { timeFrom, timeOrNull } from '../rules/driver-values.ts'
import type { AttemptError } from '../rules/error-summary.ts'
import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'
import { compile, typed } from './typed.ts'

/** Which dead letters; what is left out is not looked at. */
export interface DeadLettersWhere {
  readonly queue?: number | undefined
  readonly reason?: string | undefined
  readonly type?: string | undefined
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  /** In the reason, the key, the payload or an error, whatever its case. */
  readonly text?: string | undefined
  /** Of these ids. */
  readonly ids?: readonly string[] | undefined
  /** Ids above this one. */
  readonly after?: string | undefined
  /** Ids below this one. */
  readonly before?: string | undefined
}

export interface DeadLetterRow {
  /** The number of the dead letter, as text: what `show`, `redrive` and `purge` take. */
  readonly id: string
  /** Where it died. */
  readonly queue: string
  /** `max-attempts`, `crashed`, `unknown-type`, `invalid-payload` …, or a handler’s own words. */
  readonly reason: string
  readonly messageId: string
  /** What the message was; null, as the fields below, when the log holds it no more. */
  readonly type: string | null
  readonly exchange: string | null
  readonly routingKey: string | null
  readonly key: string | null
  /** Attempts that failed, since it was last redriven. */
  readonly attempts: number
  /** How often a process ended while it held it. */
  readonly crashes: number
  /** Every failed attempt, and what was done by hand, oldest first. */
  readonly history: readonly AttemptError[]
  readonly publishedAt: Date | null
  readonly deadAt: Date
}

export interface WholeDeadLetterRow extends DeadLetterRow {
  readonly version: number | null
  /** 0 to 9; 9 is most urgent. */
  readonly priority: number
  readonly correlationId: string | null
  readonly causationId: string | null
  readonly headers: Readonly<Record<string, unknown>>
  /** As it was published, plain JSON; undefined when the message has a body. */
  readonly payload: unknown
  readonly body: Buffer | null
  readonly contentType: string | null
}

/** Dead letters without their content, newest first. */
export function listDeadLetters(t: Tables, where: DeadLettersWhere, limit: number): Query<DeadLetterRow> {
  return compile(filtered(t, where).select(FACTS).orderBy('d.id', 'desc').limit(limit), facts)
}

/** How many dead letters there are. */
export function countDeadLetters(t: Tables, where: DeadLettersWhere): Query<number> {
  return compile(filtered(t, where).select(sql<string>`count(*)`.as('count')), ({ count }) => Number(count))
}

/** The ids of dead letters, oldest first. */
export function deadLetterIds(t: Tables, where: DeadLettersWhere, limit: number): Query<string> {
  return compile(filtered(t, where).select('d.id').orderBy('d.id').limit(limit), ({ id }) => String(id))
}

/** One dead letter, whole. JSON comes as text, so that the reader alone decides what its numbers are. */
export function showDeadLetter(t: Tables, id: string, queue: number | undefined): Query<WholeDeadLetterRow> {
  return compile(
    filtered(t, { queue })
      .select(FACTS)
      .select(['d.version', 'd.priority', 'd.correlation_id', 'd.causation_id', 'd.body', 'd.content_type'])
      .select([sql<string | null>`d.headers::text`.as('headers'), sql<string | null>`d.payload::text`.as('payload')])
      .where('d.id', '=', id),
    whole,
  )
}

export interface RedriveOf {
  readonly ids: readonly string[]
  readonly by: string | null
  readonly queue: number | null
  /** Another queue than their own. */
  readonly to: number | null
  /** Another payload, as JSON text, for one. */
  readonly payload: string | null
  readonly dry: boolean
}

/** Puts dead letters back, due now, and wakes the relay. A row for each that was there; false: its message is nowhere any more. */
export function redrive(
  t: Tables,
  { ids, by, queue, to, payload, dry }: RedriveOf,
): Query<{ id: string; queue: string; redriven: boolean }> {
  return {
    text: `
      select id::text, queue, redriven
      from ${t.of('redrive')}($1::bigint[], $2::text, $3::integer, $4::integer, $5::text, $6::boolean)`,
    values: [ids, by, queue, to, payload, dry],
  }
}

/** Deletes dead letters for good. A row for each that was there. */
export function purgeDeadLetters(
  t: Tables,
  { ids, queue, by }: { readonly ids: readonly string[]; readonly queue: number | null; readonly by: string | null },
): Query<{ id: string; queue: string }> {
  return {
    text: `select id::text, queue from ${t.of('purge_dead_letters')}($1::bigint[], $2::integer, $3::text)`,
    values: [ids, queue, by],
  }
}

const FACTS = [
  'd.id',
  'q.name as queue',
  'd.reason',
  'd.message_id',
  'd.type',
  'd.exchange',
  'd.routing_key',
  'd.key',
  'd.attempts',
  'd.crashes',
  'd.history',
  'd.published_at',
  'd.dead_at',
] as const

// What was written into JSON as an escape is found as it reads.
function holding(text: string) {
  return sql<boolean>`strpos(lower(concat_ws(' ', d.reason, d.key, d.type, d.history, d.payload::jsonb)), lower(${text})) > 0`
}

function filtered(t: Tables, { queue, reason, type, since, until, text, ids, after, before }: DeadLettersWhere) {
  let from = typed(t).selectFrom('dead_letters as d').innerJoin('queues as q', 'q.id', 'd.queue')
  if (queue !== undefined) from = from.where('d.queue', '=', queue)
  if (reason !== undefined) from = from.where('d.reason', '=', reason)
  if (type !== undefined) from = from.where('d.type', '=', type)
  if (since !== undefined) from = from.where('d.dead_at', '>=', since)
  if (until !== undefined) from = from.where('d.dead_at', '<', until)
  if (text !== undefined) from = from.where(holding(text))
  if (ids !== undefined) from = from.where('d.id', 'in', [...ids])
  if (after !== undefined) from = from.where('d.id', '>', after)
  if (before !== undefined) from = from.where('d.id', '<', before)
  return from
}

function facts(row: Row): DeadLetterRow {
  return {
    id: String(row.id),
    queue: row.queue,
    reason: row.reason,
    messageId: row.message_id,
    type: row.type,
    exchange: row.exchange,
    routingKey: row.routing_key,
    key: row.key,
    attempts: row.attempts,
    crashes: row.crashes,
    history: row.history,
    publishedAt: timeOrNull(row.published_at),
    deadAt: timeFrom(row.dead_at),
  }
}

function whole(row: Row): WholeDeadLetterRow {
  return {
    ...facts(row),
    version: row.version,
    priority: 9 - row.priority,
    correlationId: row.correlation_id,
    causationId: row.causation_id,
    headers: row.headers === null ? {} : JSON.parse(row.headers),
    payload: row.payload === null ? undefined : JSON.parse(row.payload),
    body: row.body,
    contentType: row.content_type,
  }
}
