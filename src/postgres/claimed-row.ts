import { jsonFrom } from '../rules/driver-values.ts'
import type { AttemptError } from '../rules/error-summary.ts'
import { AFTER_BODY, type Body, BodyTexts, bodyColumns, bodyOf } from './body.ts'
import type { Claimed } from './claim.ts'
import type { Row } from './queryable.ts'

const POSITION = AFTER_BODY
const MESSAGE = POSITION + 1
const MESSAGE_ID = POSITION + 2
const PRIORITY = POSITION + 3
const ATTEMPTS = POSITION + 4
const CRASHES = POSITION + 5
const HISTORY = POSITION + 6
const DUPLICATE = POSITION + 7
const EXPIRED = POSITION + 8
const ABSENT = POSITION + 9

const LEAST_URGENT = 9
const LEFT_OUT = 'left out'
export const NO_HISTORY: readonly AttemptError[] = Object.freeze([])

/** The columns of a claimed delivery, in the order in which `ClaimedRow` finds them; `of` stands before each, see `bodyColumns`. */
export function claimedColumns(of = ''): string {
  return [
    ...bodyColumns(of),
    `${of}position`,
    `${of}message`,
    `${of}message_id`,
    `nullif(${of}priority, ${LEAST_URGENT}) as priority`,
    `nullif(${of}attempts, 0) as attempts`,
    `nullif(${of}crashes, 0) as crashes`,
    `${of}history`,
    `nullif(${of}duplicate, false) as duplicate`,
    `nullif(${of}expired, false) as expired`,
    `case when ${of}missing then 'missing' when ${of}missing is null then '${LEFT_OUT}' end as absent`,
  ].join(', ')
}

/** A claimed delivery as it came over the wire, and its own body. */
export class ClaimedRow extends BodyTexts implements Claimed {
  get priority(): number {
    return Number(this.texts[PRIORITY] ?? LEAST_URGENT)
  }

  get position(): string {
    return this.texts[POSITION]!
  }

  get message(): string {
    return this.texts[MESSAGE]!
  }

  get messageId(): string {
    return this.texts[MESSAGE_ID]!
  }

  get attempts(): number {
    return Number(this.texts[ATTEMPTS] ?? 0)
  }

  get crashes(): number {
    return Number(this.texts[CRASHES] ?? 0)
  }

  get history(): readonly AttemptError[] {
    return historyOf(this.texts[HISTORY])
  }

  get duplicate(): boolean {
    return this.texts[DUPLICATE] !== null
  }

  get expired(): boolean {
    return this.texts[EXPIRED] !== null
  }

  get leftOut(): boolean {
    return this.texts[ABSENT] === LEFT_OUT
  }

  get body(): Body | null {
    return this.texts[ABSENT] === null ? this : null
  }
}

/** The same of a row that the driver has made, whatever type parsers it has been given: a bigint may arrive as a number, jsonb unparsed. */
export function claimed(row: Row): Claimed {
  return {
    priority: row.priority ?? LEAST_URGENT,
    position: String(row.position),
    message: String(row.message),
    messageId: row.message_id,
    attempts: row.attempts ?? 0,
    crashes: row.crashes ?? 0,
    history: historyOf(row.history),
    duplicate: row.duplicate ?? false,
    expired: row.expired ?? false,
    leftOut: row.absent === LEFT_OUT,
    body: row.absent === null ? bodyOf(row) : null,
  }
}

/** What went wrong before, in whatever shape the driver gives jsonb. */
export function historyOf(json: unknown): readonly AttemptError[] {
  return (jsonFrom(json) as readonly AttemptError[] | null) ?? NO_HISTORY
}
