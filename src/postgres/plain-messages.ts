// Messages that ask for nothing but to be appended, in statements that a session has prepared: a third of the work of `publish_all`,
// which reads JSON and checks what the client has checked already. Only the exchange is left to the database. Nothing is added when
// it does not exist, nor when a message has no key and a stream anywhere keeps the order of keys: then it is for `publish_all` to
// say what is wrong.
import { type CheckedMessage, isPlain } from '../rules/message.ts'
import type { Query } from './queryable.ts'
import { perSchema, type Tables } from './tables.ts'

const COLUMNS =
  'message_id, exchange, routing_key, type, version, key, priority, correlation_id, causation_id, headers, payload'
const VALUES =
  '$1::uuid, $2::text, $3::text, $4::text, $5::integer, $6::text, $7::smallint, $8::text, $9::text, $10::json, $11::json'

const isDeclared = (t: Tables, name: string) =>
  `exists (select from ${t.of('exchanges')} e where e.name = ${name}::text)`
const noStreamKeepsKeys = (t: Tables) =>
  `not exists (select from ${t.of('queues')} q where ${t.of('parks_keys')}(q.stream))`

const ONE = perSchema(
  (t) => `
      insert into ${t.of('outbox')} (${COLUMNS})
      select ${VALUES}
      where ${isDeclared(t, '$2')} and ($6::text is not null or ${noStreamKeepsKeys(t)})`,
)

/** Appends one plain message, or no row. */
export function publishOne(t: Tables, message: CheckedMessage): Query<never> {
  return { name: 'posthaste.publish_one', text: ONE(t), values: valuesOf(message) }
}

const ONE_UNASKED = perSchema((t) => `insert into ${t.of('outbox')} (${COLUMNS}) values (${VALUES})`)

const BARE = perSchema(
  (t) => `
      insert into ${t.of('outbox')} (message_id, exchange, routing_key, type, key, payload)
      values ($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::json)`,
)

/** Appends one plain message whose exchange is known: three quarters of the work. What most messages leave out is not sent. */
export function publishOneUnasked(t: Tables, message: CheckedMessage): Query<never> {
  if (isBare(message)) {
    const { id, exchange, routing_key, type, key } = message.envelope
    const values = [id, exchange, routing_key, type, key, message.payload]
    return { name: 'posthaste.publish_bare', text: BARE(t), values }
  }
  return { name: 'posthaste.publish_one_unasked', text: ONE_UNASKED(t), values: valuesOf(message) }
}

function isBare({ envelope, headers }: CheckedMessage): boolean {
  const { version, priority, correlation_id, causation_id } = envelope
  if (version !== undefined || priority !== undefined || headers !== undefined) return false
  return correlation_id === undefined && causation_id === undefined
}

/** Whether an exchange was declared: a question that leaves the caller's transaction as it is. */
export function exchangeExists(t: Tables, exchange: string): Query<{ readonly exists: boolean }> {
  return { text: `select ${isDeclared(t, '$1')} as exists`, values: [exchange] }
}

// What stands between two texts, and in place of one that is missing. JSON text has no control characters.
const BETWEEN = '\x1e'
const MISSING = '\x1f'
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const MARKS = /[\x1e\x1f]/

const ALIKE = perSchema(
  (t) => `
      insert into ${t.of('outbox')} (xid, ${COLUMNS})
      select (select ${t.of('xid_of_publisher')}()), m.id, $2::text, $3::text, $4::text, $5::integer, m.key, $7::smallint, $8::text, $9::text, $10::json, m.payload::json
      from unnest($1::uuid[], string_to_array($6::text, e'\\x1e', e'\\x1f'), string_to_array($11::text, e'\\x1e')) m (id, key, payload)
      where ${isDeclared(t, '$2')} and ($12::boolean or ${noStreamKeepsKeys(t)})`,
)

/** Appends plain messages that are alike, in the order given; all of them, or no row. */
export function publishAlike(t: Tables, messages: readonly CheckedMessage[]): Query<never> {
  const [, exchange, routingKey, type, version, , priority, correlationId, causationId, headers] = valuesOf(
    messages[0]!,
  )
  const ids = `{${messages.map(({ envelope }) => envelope.id).join(',')}}`
  const keys = messages.map(({ envelope }) => envelope.key ?? MISSING).join(BETWEEN)
  const payloads = messages.map(({ payload }) => payload).join(BETWEEN)
  const keyed = messages.every(({ envelope }) => envelope.key !== undefined)
  return {
    name: 'posthaste.publish_alike',
    text: ALIKE(t),
    values: [
      ids,
      exchange,
      routingKey,
      type,
      version,
      keys,
      priority,
      correlationId,
      causationId,
      headers,
      payloads,
      keyed,
    ],
  }
}

/** Whether messages are plain and differ in nothing but their ids, keys and payloads; one alone does. */
export function areAlike(messages: readonly CheckedMessage[]): boolean {
  const [first] = messages
  if (first === undefined || !messages.every(isPlain)) return false
  return messages.length === 1 || messages.every((message) => isLike(first, message))
}

function isLike(
  { envelope: one, headers }: CheckedMessage,
  { envelope: other, headers: others }: CheckedMessage,
): boolean {
  return (
    one.exchange === other.exchange &&
    one.routing_key === other.routing_key &&
    one.type === other.type &&
    one.version === other.version &&
    one.priority === other.priority &&
    one.correlation_id === other.correlation_id &&
    one.causation_id === other.causation_id &&
    headers === others &&
    (other.key === undefined || !MARKS.test(other.key))
  )
}

function valuesOf({ envelope, headers, payload }: CheckedMessage): unknown[] {
  const { id, exchange, routing_key, type, version, key, priority, correlation_id, causation_id } = envelope
  return [
    id,
    exchange,
    routing_key,
    type,
    version ?? 1,
    key,
    priority ?? 0,
    correlation_id,
    causation_id,
    headers,
    payload,
  ]
}
