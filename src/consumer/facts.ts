import type { Body } from '../postgres/body.ts'
import type { Claimed } from '../postgres/claim.ts'
import type { DeliveryFacts, MessageFacts } from '../rules/delivery.ts'
import { decrypted, type Keyring, mayBeEncrypted } from '../rules/encryption.ts'
import type { QueueSettings } from '../rules/topology.ts'

/** The payload as it was published, or undefined for a message with a body. */
export function plainPayload({ body }: Claimed): unknown {
  return body?.payload == null ? undefined : JSON.parse(body.payload)
}

/** The payload as its publisher wrote it: what of it is encrypted is opened. */
export function clearPayload(row: Claimed, keys: Keyring | undefined): unknown {
  const { payload, type } = row.body!
  const plain = plainPayload(row)
  return payload === null || !mayBeEncrypted(payload) ? plain : decrypted(keys, type, plain)
}

export interface FactsOf {
  readonly queue: Pick<QueueSettings, 'name' | 'retry'>
  /** Which attempt it is, 1 for the first. */
  readonly attempt: number
  readonly payload: unknown
}

/** What is known of a claimed delivery whose message the log still holds. */
export function factsOf(row: Claimed, { queue, attempt, payload }: FactsOf): DeliveryFacts {
  return {
    ...messageFactsOf(row, payload),
    queue: queue.name,
    attempt,
    maxAttempts: queue.retry.maxAttempts,
    crashes: row.crashes,
    errors: row.history,
  }
}

function headersOf({ headers }: Body): Record<string, unknown> {
  return headers === null ? {} : JSON.parse(headers)
}

/** The same of the message alone. */
export function messageFactsOf(row: Claimed, payload: unknown): MessageFacts {
  const body = row.body!
  return {
    id: row.messageId,
    type: body.type,
    version: body.version,
    exchange: body.exchange,
    routingKey: body.routingKey,
    key: body.key ?? undefined,
    priority: 9 - row.priority,
    headers: headersOf(body),
    payload,
    body: body.bytes ?? undefined,
    contentType: body.contentType ?? undefined,
    correlationId: body.correlationId ?? undefined,
    causationId: body.causationId ?? undefined,
    publishedAt: body.publishedAt,
    position: row.message,
  }
}
