import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/** A message as the log has it. */
export interface LoggedMessage {
  readonly id: string
  readonly type: string
  readonly version: number
  readonly exchange: string
  readonly routingKey: string
  readonly key: string | undefined
  readonly priority: number
  readonly headers: Readonly<Record<string, unknown>>
  /** As it was published; undefined when the message has a body. */
  readonly payload: unknown
  readonly body: Uint8Array | undefined
  readonly contentType: string | undefined
  readonly deliverAt: Date | undefined
  readonly expiresAt: Date | undefined
  readonly correlationId: string | undefined
  readonly causationId: string | undefined
  readonly publishedAt: Date
}

/** Everything in the log, or all of a type, in the order of publishing. */
export function loggedMessages(t: Tables, type: string | null): Query<LoggedMessage> {
  return {
    text: `
      select message_id, type, version, exchange, routing_key, key, priority, headers::text as headers, payload::text as payload,
             encode(body, 'base64') as body, content_type, correlation_id, causation_id,
             extract(epoch from deliver_at) * 1000 as deliver_at, extract(epoch from expires_at) * 1000 as expires_at,
             extract(epoch from published_at) * 1000 as published_at
      from ${t.of('outbox')}
      where $1::text is null or type = $1::text
      order by id`,
    values: [type],
    decode: logged,
  }
}

function logged(row: Row): LoggedMessage {
  return {
    id: row.message_id,
    type: row.type,
    version: row.version,
    exchange: row.exchange,
    routingKey: row.routing_key,
    key: row.key ?? undefined,
    priority: row.priority,
    headers: row.headers === null ? {} : JSON.parse(row.headers),
    payload: row.payload === null ? undefined : JSON.parse(row.payload),
    body: row.body === null ? undefined : Buffer.from(row.body, 'base64'),
    contentType: row.content_type ?? undefined,
    deliverAt: row.deliver_at === null ? undefined : new Date(Number(row.deliver_at)),
    expiresAt: row.expires_at === null ? undefined : new Date(Number(row.expires_at)),
    correlationId: row.correlation_id ?? undefined,
    causationId: row.causation_id ?? undefined,
    publishedAt: new Date(Number(row.published_at)),
  }
}
