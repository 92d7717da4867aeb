import { v7 } from 'uuid'
import { InvalidMessage, UnknownOption } from '../errors.ts'
import type { AnyContract } from './contract.ts'
import { bytesOf, jsonText } from './json-text.ts'
import {
  bodyText,
  checkedId,
  checkedInstant,
  checkedKey,
  checkedMs,
  checkedName,
  checkedNameOrEmpty,
  checkedWhole,
  headersText,
  LARGEST_PRIORITY,
  LARGEST_VERSION,
  type MessageLimits,
} from './validate.ts'

/** What a message says beside its payload; names and JSON values. */
export type Headers = Readonly<Record<string, unknown>>

/** How one message differs from others of its kind. */
export interface PublishOptions {
  /**
   * Your own id, a uuid. It is remembered for seven days: publishing it again adds nothing and answers `duplicate: true`.
   * @default a new uuidv7
   */
  readonly id?: string | undefined
  /** An object of JSON values, 64 KB at most. @default none */
  readonly headers?: Headers | undefined
  /** 0 to 9; 9 is delivered first. @default 0 */
  readonly priority?: number | undefined
  /** Milliseconds until it may be delivered, ten years at most. Excludes `deliverAt`. @default 0 */
  readonly delayMs?: number | undefined
  /** When it may be delivered. Excludes `delayMs`. @default now */
  readonly deliverAt?: Date | undefined
  /** Milliseconds after which it is no longer worth delivering, and expires. @default never */
  readonly expiresInMs?: number | undefined
  /** What all messages of one conversation share. @default none */
  readonly correlationId?: string | undefined
  /** The id of the message this one answers. @default none */
  readonly causationId?: string | undefined
  /** What it is about: messages with the same key keep their order in streams. 1,024 bytes at most. @default the contract's, or none */
  readonly key?: string | undefined
  /** What bindings compare. @default the contract's, or the type */
  readonly routingKey?: string | undefined
  /** Holds an advisory lock for the key until commit, so that messages of one key follow commit order. @default the contract's, or false */
  readonly lockKey?: boolean | undefined
  /**
   * What makes it the same message as an earlier one of its type: within the window nothing is added, and the answer is the earlier
   * one's id with `duplicate: true`. Another payload, exchange or routing key under it is a `DedupeConflict`. 1,024 bytes at most.
   * @default none
   */
  readonly dedupeKey?: string | undefined
  /** How long its key is remembered, in milliseconds, ten years at most. @default 604_800_000 (7 days) */
  readonly dedupeWindowMs?: number | undefined
}

/** A message of which no contract is known: `{ type: 'order.placed', exchange: 'orders', payload: { … } }`. */
export type RawMessage = RawEnvelope & (JsonContent | BytesContent)

/** What every raw message says of itself. */
export interface RawEnvelope extends PublishOptions {
  readonly type: string
  /** @default '', the default exchange, which routes to the queue named by the routing key */
  readonly exchange?: string | undefined
  /** @default 1 */
  readonly version?: number | undefined
}

/** A message of JSON. */
export interface JsonContent {
  readonly payload: unknown
  readonly body?: undefined
  readonly contentType?: undefined
}

/** A message of bytes. */
export interface BytesContent {
  /** Bytes that come out as they went in. */
  readonly body: Uint8Array
  readonly contentType: string
  readonly payload?: undefined
}

/** A message with its id, ready to be published; made by `contract.create` or from a raw one. Checked when it is published. */
export interface Message<Payload = unknown> {
  readonly id: string
  /** The id is the publisher's own, so it is remembered. */
  readonly ownId: boolean
  /** Whose schema the payload is checked against; undefined for raw messages. */
  readonly contract: AnyContract | undefined
  readonly type: string
  readonly version: number
  readonly exchange: string
  readonly routingKey: string
  readonly key: string | undefined
  readonly priority: number | undefined
  readonly headers: Headers | undefined
  readonly payload: Payload
  readonly body: Uint8Array | undefined
  readonly contentType: string | undefined
  readonly delayMs: number | undefined
  readonly deliverAt: Date | undefined
  readonly expiresInMs: number | undefined
  readonly correlationId: string | undefined
  readonly causationId: string | undefined
  readonly lockKey: boolean
  readonly dedupeKey: string | undefined
  readonly dedupeWindowMs: number | undefined
}

/** The parts of a message as the schema names them, checked; what has its default value is undefined. */
export interface Envelope {
  readonly id: string
  readonly exchange: string
  readonly routing_key: string
  readonly type: string
  readonly version: number | undefined
  readonly key: string | undefined
  readonly priority: number | undefined
  readonly delay_ms: number | undefined
  readonly deliver_at: string | undefined
  readonly expires_in_ms: number | undefined
  readonly correlation_id: string | undefined
  readonly causation_id: string | undefined
  readonly content_type: string | undefined
  readonly own_id: true | undefined
  readonly lock_key: true | undefined
  readonly dedupe_key: string | undefined
  readonly dedupe_window_ms: number | undefined
}

/** A message that the database will take: its headers and payload are JSON text, a body is base64. */
export interface CheckedMessage {
  readonly envelope: Envelope
  readonly headers: string | undefined
  readonly payload: string | undefined
  readonly body: string | undefined
  /** What it is compared by under its dedupe key, where its payload cannot be: it is encrypted anew each time. */
  readonly fingerprints?: readonly string[]
}

/**
 * One message as JSON text, an object of the array that `publish_all` takes: its envelope, headers, and payload or body. What has
 * its default value is left out.
 */
export type WireMessage = string & { readonly [wire]: true }
declare const wire: unique symbol

// In UTF-8 at most 64 KB, which no database's limit is below.
const PLAIN_LENGTH = 21_845

const OPTIONS = new Set([
  'id',
  'headers',
  'priority',
  'delayMs',
  'deliverAt',
  'expiresInMs',
  'correlationId',
  'causationId',
  'key',
  'routingKey',
  'lockKey',
  'dedupeKey',
  'dedupeWindowMs',
])
const RAW = new Set([...OPTIONS, 'type', 'exchange', 'version', 'payload', 'body', 'contentType'])

/** A new message id: a uuidv7, higher than every one made before it by this process. */
export function newMessageId(): string {
  return v7()
}

/** A message as it is published: raw ones get an id and defaults, `options` win over what the message says. Checks names of options only. */
export function prepare(given: Message | RawMessage, options?: PublishOptions): Message {
  const message = isMessage(given) ? given : fromRaw(given)
  return options === undefined ? message : withOptions(message, options)
}

function isMessage(given: Message | RawMessage): given is Message {
  return 'ownId' in given
}

function fromRaw(raw: RawMessage): Message {
  checkKnown(raw, RAW)
  return {
    id: raw.id ?? newMessageId(),
    ownId: raw.id !== undefined,
    contract: undefined,
    type: raw.type,
    version: raw.version ?? 1,
    exchange: raw.exchange ?? '',
    routingKey: raw.routingKey ?? raw.type,
    key: raw.key,
    priority: raw.priority,
    headers: raw.headers,
    payload: raw.payload,
    body: raw.body,
    contentType: raw.contentType,
    delayMs: raw.delayMs,
    deliverAt: raw.deliverAt,
    expiresInMs: raw.expiresInMs,
    correlationId: raw.correlationId,
    causationId: raw.causationId,
    lockKey: raw.lockKey ?? false,
    dedupeKey: raw.dedupeKey,
    dedupeWindowMs: raw.dedupeWindowMs,
  }
}

function withOptions(message: Message, options: PublishOptions): Message {
  checkKnown(options, OPTIONS)
  const timed = options.delayMs !== undefined || options.deliverAt !== undefined
  return {
    ...message,
    id: options.id ?? message.id,
    ownId: message.ownId || options.id !== undefined,
    routingKey: options.routingKey ?? message.routingKey,
    key: options.key ?? message.key,
    priority: options.priority ?? message.priority,
    headers: options.headers ?? message.headers,
    delayMs: timed ? options.delayMs : message.delayMs,
    deliverAt: timed ? options.deliverAt : message.deliverAt,
    expiresInMs: options.expiresInMs ?? message.expiresInMs,
    correlationId: options.correlationId ?? message.correlationId,
    causationId: options.causationId ?? message.causationId,
    lockKey: options.lockKey ?? message.lockKey,
    dedupeKey: options.dedupeKey ?? message.dedupeKey,
    dedupeWindowMs: options.dedupeWindowMs ?? message.dedupeWindowMs,
  }
}

/** Refuses an option that nobody reads. */
export function checkPublishOptions(options: PublishOptions): void {
  checkKnown(options, OPTIONS)
}

function checkKnown(given: object, known: ReadonlySet<string>): void {
  for (const name in given) if (!known.has(name)) throw new UnknownOption(name, known)
}

/**
 * Checks everything about a message but its schema. What is accepted here is accepted by Postgres and comes out as it went in;
 * what is not is an `InvalidMessage` that names the path.
 */
export function check(message: Message, limits: MessageLimits): CheckedMessage {
  const type = checkedName(message.type, { messageType: String(message.type), path: 'type' })
  const at = (path: string) => ({ messageType: type, path })
  const { key, priority, delayMs, deliverAt, expiresInMs, correlationId, causationId, contentType } = message
  const { dedupeKey, dedupeWindowMs } = message

  if (delayMs !== undefined && deliverAt !== undefined) throw new InvalidMessage(type, 'delayMs', 'excludes deliverAt')
  if (message.lockKey && key === undefined)
    throw new InvalidMessage(type, 'lockKey', 'is set, and there is no key to lock')
  if (dedupeWindowMs !== undefined && dedupeKey === undefined)
    throw new InvalidMessage(type, 'dedupeWindowMs', 'is set, and there is no dedupeKey')

  const envelope = {
    id: message.ownId ? checkedId(message.id, at('id')) : message.id,
    exchange: checkedNameOrEmpty(message.exchange, at('exchange')),
    routing_key: checkedNameOrEmpty(message.routingKey, at('routingKey')),
    type,
    version: message.version === 1 ? undefined : checkedWhole(message.version, [1, LARGEST_VERSION], at('version')),
    key: key === undefined ? undefined : checkedKey(key, at('key')),
    priority: priority ? checkedWhole(priority, [0, LARGEST_PRIORITY], at('priority')) : undefined,
    delay_ms: delayMs === undefined ? undefined : checkedMs(delayMs, 0, at('delayMs')),
    deliver_at: deliverAt === undefined ? undefined : checkedInstant(deliverAt, at('deliverAt')),
    expires_in_ms: expiresInMs === undefined ? undefined : checkedMs(expiresInMs, 1, at('expiresInMs')),
    correlation_id: correlationId === undefined ? undefined : checkedName(correlationId, at('correlationId')),
    causation_id: causationId === undefined ? undefined : checkedName(causationId, at('causationId')),
    content_type: contentType === undefined ? undefined : checkedName(contentType, at('contentType')),
    own_id: message.ownId || undefined,
    lock_key: message.lockKey || undefined,
    dedupe_key: dedupeKey === undefined ? undefined : checkedKey(dedupeKey, at('dedupeKey')),
    dedupe_window_ms: dedupeWindowMs === undefined ? undefined : checkedMs(dedupeWindowMs, 1, at('dedupeWindowMs')),
  }
  const headers = message.headers === undefined ? undefined : headersText(message.headers, type)
  return { envelope, headers, ...contentOf(message, type, limits) }
}

/** A checked message as `publish_all` takes it. */
export function encode({ envelope, headers, payload, body, fingerprints }: CheckedMessage): WireMessage {
  const prints = fingerprints === undefined ? '' : `,"fingerprints":${JSON.stringify(fingerprints)}`
  const given = headers === undefined ? prints : `,"headers":${headers}${prints}`
  const content = payload === undefined ? `"body":"${body}"` : `"payload":${payload}`
  return `${JSON.stringify(envelope).slice(0, -1)}${given},${content}}` as WireMessage
}

/** Whether a message asks for nothing but to be appended: no time, no lock, no memory of its id; JSON of no great size. */
export function isPlain({ envelope, payload }: CheckedMessage): boolean {
  const { own_id, lock_key, dedupe_key, delay_ms, deliver_at, expires_in_ms } = envelope
  if (own_id || lock_key || dedupe_key) return false
  if (payload === undefined || payload.length > PLAIN_LENGTH) return false
  return delay_ms === undefined && deliver_at === undefined && expires_in_ms === undefined
}

function contentOf(
  { payload, body, contentType }: Message,
  messageType: string,
  { payloadBytes }: MessageLimits,
): { payload: string | undefined; body: string | undefined } {
  if (body === undefined) {
    if (contentType !== undefined)
      throw new InvalidMessage(messageType, 'contentType', 'is for a body, and there is none')
    if (payload === null)
      throw new InvalidMessage(messageType, 'payload', 'is null; say {} when there is nothing to say')
    return { payload: jsonText(payload, payloadBytes, { messageType, path: 'payload' }), body: undefined }
  }
  if (payload !== undefined) throw new InvalidMessage(messageType, 'body', 'excludes payload')
  if (contentType === undefined) throw new InvalidMessage(messageType, 'contentType', 'is missing for a body')
  return { payload: undefined, body: bodyText(body, payloadBytes, { messageType, path: 'body' }) }
}

export const BATCH_BYTES = 16 * 1_048_576

/** JSON arrays of messages, in order, each for one call of `publish_all` and no larger than `maxBytes` unless one message is. */
export function batches(
  messages: readonly WireMessage[],
  maxBytes: number = BATCH_BYTES,
): { json: string; messages: number }[] {
  return slices(messages, (message) => bytesOf(message) + 1, maxBytes).map(arrayOf)
}

/** What goes into one statement each: slices, in order, no larger than `maxBytes` unless one item is. */
export function slices<Item>(
  items: readonly Item[],
  sizeOf: (item: Item) => number,
  maxBytes: number = BATCH_BYTES,
): Item[][] {
  const cut: Item[][] = []
  let start = 0
  let bytes = 0
  items.forEach((item, index) => {
    const more = sizeOf(item)
    if (index > start && bytes + more > maxBytes) {
      cut.push(items.slice(start, index))
      start = index
      bytes = 0
    }
    bytes += more
  })
  if (start < items.length) cut.push(items.slice(start))
  return cut
}

function arrayOf(messages: readonly WireMessage[]): { json: string; messages: number } {
  return { json: `[${messages.join(',')}]`, messages: messages.length }
}
