import type { CheckedMessage } from '../rules/message.ts'
import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/**
 * What became of a message that was handed to your transaction. `duplicate`: its id, given by you, was published before, and nothing was
 * added.
 */
export interface Published {
  /** Of a duplicate, the id of the message that came first. */
  readonly id: string
  /** Whether its dedupe key, or the id that its publisher chose, was known already; then nothing was added. */
  readonly duplicate: boolean
}

/**
 * Appends one plain message, in a statement that the connection has prepared: a third of the work of `publish_all`, which reads
 * JSON and checks what the client has checked already. It adds no row when the exchange does not exist, nor when the message has no
 * key and a stream anywhere keeps the order of keys: then it is for `publish_all` to say.
 */
export function publishOne(t: Tables, { envelope, headers, payload }: CheckedMessage): Query<never> {
  const { id, exchange, routing_key, type, version, key, priority, correlation_id, causation_id } = envelope
  return {
    name: 'posthaste.publish_one',
    text: `
      insert into ${t.of('outbox')} (message_id, exchange, routing_key, type, version, key, priority, correlation_id, causation_id, headers, payload)
      select $1::uuid, e.name, $3::text, $4::text, $5::integer, $6::text, $7::smallint, $8::text, $9::text, $10::json, $11::json
      from ${t.of('exchanges')} e
      where e.name = $2::text
        and ($6::text is not null or not exists (select from ${t.of('queues')} q where ${t.of('parks_keys')}(q.stream)))`,
    values: [
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
    ],
  }
}

/** Whether an exchange was declared: a question that leaves the caller's transaction as it is. */
export function exchangeExists(t: Tables, exchange: string): Query<{ readonly exists: boolean }> {
  return {
    text: `select exists (select from ${t.of('exchanges')} where name = $1::text) as exists`,
    values: [exchange],
  }
}

const published = (row: Row): Published => ({ id: row.id, duplicate: row.duplicate === 'true' })

/**
 * Appends messages in the caller's transaction, in the order given.
 *
 * One text in, text columns out: the shape that every driver binds alike.
 */
export function publishAll(t: Tables, messages: string): Query<Published> {
  return {
    name: 'posthaste.publish_all',
    text: `select id, duplicate, pg_backend_pid() as backend from ${t.of('publish_all')}($1::text)`,
    values: [messages],
    decode: published,
  }
}

/** As `publishAll`, but only in the transaction that the proof was left in; in any other it does nothing and returns no row. */
export function publishAllProven(t: Tables, messages: string, proof: string): Query<Published> {
  return {
    text: `
      select p.id, p.duplicate
      from (select where current_setting('posthaste.probe', true) = $2::text) proven
      cross join lateral ${t.of('publish_all')}($1::text) p`,
    values: [messages, proof],
    decode: published,
  }
}
