import { octetsOf } from '../rules/octets.ts'
import type { Row, Texts } from './queryable.ts'

/** What the log holds of a message, besides its id. */
export interface Body {
  readonly exchange: string
  readonly routingKey: string
  readonly type: string
  readonly version: number
  readonly key: string | null
  readonly correlationId: string | null
  readonly causationId: string | null
  readonly headers: string | null
  /** JSON text, as it was published. */
  readonly payload: string | null
  readonly bytes: Buffer | null
  readonly contentType: string | null
  readonly publishedAt: Date
}

/**
 * The columns of a body, in the order in which `BodyTexts` finds them; others may follow. What is as it is most often is null: it costs
 * the server, the wire and the process nothing. `of` stands before each: nothing, or a composite with a dot.
 */
export function bodyColumns(of = '', publishedMs = `date_part('epoch', ${of}published_at) * 1000`): readonly string[] {
  return [
    `${of}exchange`,
    `nullif(${of}routing_key, ${of}type) as routing_key`,
    `${of}type`,
    `nullif(${of}version, 1) as version`,
    `${of}key`,
    `${of}correlation_id`,
    `${of}causation_id`,
    `${of}headers`,
    `${of}payload`,
    `${of}body`,
    `${of}content_type`,
    `${publishedMs} as published_ms`,
  ]
}

/** The first column that is no body's. */
export const AFTER_BODY = bodyColumns().length

/** The body in a row that the driver has made, whatever type parsers it has been given. */
export function bodyOf(row: Row): Body {
  return {
    exchange: row.exchange,
    routingKey: row.routing_key ?? row.type,
    type: row.type,
    version: row.version ?? 1,
    key: row.key,
    correlationId: row.correlation_id,
    causationId: row.causation_id,
    headers: row.headers,
    payload: row.payload,
    bytes: row.body,
    contentType: row.content_type,
    publishedAt: instantOfMs(row.published_ms),
  }
}

/**
 * The body in a row as it came over the wire: of hundreds of rows that are held for a moment, most columns are asked for once or never.
 */
export class BodyTexts implements Body {
  protected readonly texts: Texts

  constructor(texts: Texts) {
    this.texts = texts
  }

  get exchange(): string {
    return this.texts[0]!
  }

  get routingKey(): string {
    return this.texts[1] ?? this.type
  }

  get type(): string {
    return this.texts[2]!
  }

  get version(): number {
    return Number(this.texts[3] ?? 1)
  }

  get key(): string | null {
    return this.texts[4]!
  }

  get correlationId(): string | null {
    return this.texts[5]!
  }

  get causationId(): string | null {
    return this.texts[6]!
  }

  get headers(): string | null {
    return this.texts[7]!
  }

  get payload(): string | null {
    return this.texts[8]!
  }

  get bytes(): Buffer | null {
    const text = this.texts[9]!
    return text === null ? null : octetsOf(text)
  }

  get contentType(): string | null {
    return this.texts[10]!
  }

  get publishedAt(): Date {
    return instantOfMs(this.texts[11]!)
  }

  /** How many characters and bytes it carries. */
  get size(): number {
    return carried(this.headers, this.payload, this.texts[9])
  }
}

/** How many characters and bytes the message in a row carries. */
export function sizeOf({ headers, payload, body }: Row): number {
  return carried(headers, payload, body)
}

type Carried = { readonly length: number } | null | undefined

function carried(headers: Carried, payload: Carried, body: Carried): number {
  return (headers?.length ?? 0) + (payload?.length ?? 0) + (body?.length ?? 0)
}

// Of a time far from now a whole number of milliseconds may come as a hair less.
function instantOfMs(ms: number | string): Date {
  return new Date(Math.floor(Number(ms) + 0.0005))
}
