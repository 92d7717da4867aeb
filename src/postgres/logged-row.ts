import type { AttemptError } from '../rules/error-summary.ts'
import { AFTER_BODY, type Body, BodyTexts, bodyColumns, bodyOf, sizeOf } from './body.ts'
import { NO_HISTORY } from './claimed-row.ts'
import type { Row, Texts } from './queryable.ts'
import type { StreamRow } from './streams.ts'

const COLUMNS = [
  ...bodyColumns('', 'published_ms'),
  'id',
  'lane',
  'message_id',
  'nullif(priority, 0) as priority',
  'nullif(expired, false) as expired',
]
const ID = AFTER_BODY
const LANE = ID + 1
const MESSAGE_ID = ID + 2
const PRIORITY = ID + 3
const EXPIRED = ID + 4

/** The columns of a message of the log, in the order in which `LoggedRow` finds them; others may follow. */
export const LOGGED_COLUMNS = COLUMNS.join(', ')

/** Whether it is a message, and not what comes after the last. */
export function isLogged(texts: Texts): boolean {
  return texts[MESSAGE_ID] !== null
}

/** The id in a row, and the columns that follow those of a message. */
export function afterLogged(texts: Texts): { readonly id: string; readonly others: Texts } {
  return { id: texts[ID]!, others: texts.slice(COLUMNS.length) }
}

/** A message of the log as it came over the wire, and its own body. */
export class LoggedRow extends BodyTexts implements StreamRow {
  get position(): string {
    return this.texts[ID]!
  }

  get message(): string {
    return this.texts[ID]!
  }

  get lane(): number {
    return Number(this.texts[LANE])
  }

  get messageId(): string {
    return this.texts[MESSAGE_ID]!
  }

  get priority(): number {
    return 9 - Number(this.texts[PRIORITY] ?? 0)
  }

  get expired(): boolean {
    return this.texts[EXPIRED] === 't'
  }

  get body(): Body {
    return this
  }

  get attempts(): number {
    return 0
  }

  get crashes(): number {
    return 0
  }

  get history(): readonly AttemptError[] {
    return NO_HISTORY
  }

  get duplicate(): boolean {
    return false
  }

  get leftOut(): boolean {
    return false
  }
}

/** The same of a row that the driver has made. */
export function streamRow(row: Row): StreamRow {
  return {
    priority: 9 - (row.priority ?? 0),
    position: String(row.id),
    message: String(row.id),
    messageId: row.message_id,
    attempts: 0,
    crashes: 0,
    history: NO_HISTORY,
    duplicate: false,
    leftOut: false,
    expired: row.expired ?? false,
    lane: row.lane,
    size: sizeOf(row),
    body: bodyOf(row),
  }
}
