import type { AttemptError } from '../rules/error-summary.ts'
import { type Body, bodyOf } from './claim.ts'
import type { Row, Texts } from './queryable.ts'
import type { StreamRow } from './streams.ts'

/**
 * The columns of a message of the log, in the order in which `LoggedRow` finds them; others may follow. What is as it is most often is
 * null: it costs the server, the wire and the process nothing.
 */
export const LOGGED_COLUMNS = [
  'id',
  'lane',
  'message_id',
  'nullif(priority, 0) as priority',
  'exchange',
  'nullif(routing_key, type) as routing_key',
  'type',
  'nullif(version, 1) as version',
  'key',
  'correlation_id',
  'causation_id',
  'headers',
  'payload',
  'body',
  'content_type',
  'published_ms',
  'nullif(expired, false) as expired',
].join(', ')

const COLUMNS = 17
const NO_HISTORY: readonly AttemptError[] = Object.freeze([])

/** Whether it is a message, and not what comes after the last. */
export function isLogged(texts: Texts): boolean {
  return texts[2] !== null
}

/** The columns that follow those of a message. */
export function afterLogged(texts: Texts): Texts {
  return texts.slice(COLUMNS)
}

/**
 * A message of the log as it came over the wire, and its own body: of a thousand rows that are held for a moment, most columns are asked
 * for once or never.
 */
export class LoggedRow implements StreamRow, Body {
  readonly #texts: Texts

  constructor(texts: Texts) {
    this.#texts = texts
  }

  get position(): string {
    return this.#texts[0]!
  }

  get message(): string {
    return this.#texts[0]!
  }

  get lane(): number {
    return Number(this.#texts[1])
  }

  get messageId(): string {
    return this.#texts[2]!
  }

  get priority(): number {
    return 9 - Number(this.#texts[3] ?? 0)
  }

  get exchange(): string {
    return this.#texts[4]!
  }

  get routingKey(): string {
    return this.#texts[5] ?? this.type
  }

  get type(): string {
    return this.#texts[6]!
  }

  get version(): number {
    return Number(this.#texts[7] ?? 1)
  }

  get key(): string | null {
    return this.#texts[8]!
  }

  get correlationId(): string | null {
    return this.#texts[9]!
  }

  get causationId(): string | null {
    return this.#texts[10]!
  }

  get headers(): string | null {
    return this.#texts[11]!
  }

  get payload(): string | null {
    return this.#texts[12]!
  }

  get bytes(): Buffer | null {
    const text = this.#texts[13]!
    return text === null ? null : Buffer.from(text.slice('\\x'.length), 'hex')
  }

  get contentType(): string | null {
    return this.#texts[14]!
  }

  get publishedAt(): Date {
    return new Date(Number(this.#texts[15]))
  }

  get expired(): boolean {
    return this.#texts[16] === 't'
  }

  get body(): Body {
    return this
  }

  get size(): number {
    return carried(this.#texts[11], this.#texts[12], this.#texts[13])
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
export function streamRow(found: Row): StreamRow {
  const row: Row = { ...found, routing_key: found.routing_key ?? found.type, version: found.version ?? 1 }
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
    body: bodyOf(row, new Date(Number(row.published_ms))),
  }
}

/** How many characters and bytes a message carries. */
export function sizeOf({ headers, payload, body }: Row): number {
  return carried(headers, payload, body)
}

type Carried = { readonly length: number } | null | undefined

function carried(headers: Carried, payload: Carried, body: Carried): number {
  return (headers?.length ?? 0) + (payload?.length ?? 0) + (body?.length ?? 0)
}
