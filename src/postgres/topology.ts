import type { FlowSettings } from '../rules/flow.ts'
import type { RetryPolicy } from '../rules/retry.ts'
import type { Binding, ExchangeKind } from '../rules/route.ts'
import type { DeadLetterRoute, QueueSettings } from '../rules/topology.ts'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** An exchange as it is in the database. */
export interface StoredExchange {
  readonly name: string
  readonly kind: ExchangeKind | 'default'
  readonly owner: string | null
  readonly declaredAt: Date
}

/** A queue as it is in the database. */
export interface StoredQueue {
  readonly id: number
  readonly name: string
  readonly kind: 'standard' | 'stream'
  readonly retry: RetryPolicy
  readonly maxCrashes: number
  readonly deadLetter: DeadLetterRoute | null
  /** How its deliveries flow; `{}` for a plain queue. */
  readonly flow: FlowSettings
  readonly owner: string | null
  readonly declaredAt: Date
}

/** A binding as it is in the database. */
export interface StoredBinding extends Binding {
  readonly owner: string | null
}

/** One process declares at a time; the lock goes with the transaction. */
export function lockTopology(t: Tables): Query<unknown> {
  return {
    text: `select pg_advisory_xact_lock(${t.of('lock_class')}(), ${t.of('lock_object')}('topology'))`,
    values: [],
  }
}

export function storedExchanges(t: Tables): Query<StoredExchange> {
  return {
    text: `select name, kind, owner, declared_at as "declaredAt" from ${t.of('exchanges')} order by name`,
    values: [],
  }
}

export function storedQueues(t: Tables): Query<StoredQueue> {
  return {
    text: `
      select id, name, kind, retry, max_crashes as "maxCrashes", dead_letter as "deadLetter", flow, owner, declared_at as "declaredAt"
      from ${t.of('queues')}
      order by name`,
    values: [],
  }
}

/** One queue, or no row. */
export function storedQueue(t: Tables, name: string): Query<StoredQueue> {
  return {
    text: `
      select id, name, kind, retry, max_crashes as "maxCrashes", dead_letter as "deadLetter", flow, owner, declared_at as "declaredAt"
      from ${t.of('queues')}
      where name = $1`,
    values: [name],
  }
}

export function storedBindings(t: Tables): Query<StoredBinding> {
  return {
    text: `
      select b.exchange, q.name as queue, b.routing_key as "routingKey", b.pattern, b.type, b.match, b.arguments, b.owner
      from ${t.of('bindings')} b
      join ${t.of('queues')} q on q.id = b.queue
      order by q.name, b.exchange, b.routing_key, b.type`,
    values: [],
  }
}

/** Declares an exchange; one that is there becomes of this kind. */
export function putExchange(
  t: Tables,
  { name, kind }: { name: string; kind: string },
  owner: string | null,
): Query<unknown> {
  return {
    text: `
      insert into ${t.of('exchanges')} (name, kind, owner)
      values ($1, $2, $3)
      on conflict (name) do update
      set kind = excluded.kind, owner = coalesce(exchanges.owner, excluded.owner), declared_at = clock_timestamp()`,
    values: [name, kind, owner],
  }
}

/** Declares a queue; one that is there gets these settings and keeps its owner. */
export function putQueue(t: Tables, queue: QueueSettings, owner: string | null): Query<unknown> {
  const { name, kind, retry, maxCrashes, deadLetter } = queue
  return {
    text: `
      insert into ${t.of('queues')} (name, kind, max_attempts, max_crashes, retry, dead_letter, owner)
      values ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7)
      on conflict (name) do update
      set max_attempts = excluded.max_attempts, max_crashes = excluded.max_crashes, retry = excluded.retry,
          dead_letter = excluded.dead_letter, owner = coalesce(queues.owner, excluded.owner), declared_at = clock_timestamp()`,
    values: [
      name,
      kind,
      retry.maxAttempts,
      maxCrashes,
      JSON.stringify(retry),
      deadLetter ? JSON.stringify(deadLetter) : null,
      owner,
    ],
  }
}

/** Says how queues flow; consumers are told where it is new to them. */
export function putFlows(t: Tables, queues: readonly Pick<QueueSettings, 'name' | 'flow'>[]): Query<unknown> {
  const flows = Object.fromEntries(queues.map(({ name, flow = {} }) => [name, flow]))
  return { text: `select ${t.of('put_flows')}($1::text::jsonb)`, values: [JSON.stringify(flows)] }
}

/** Adds a binding; one that is there stays as it is. */
export function putBinding(t: Tables, binding: Binding, owner: string | null): Query<unknown> {
  const { exchange, queue, routingKey, pattern, type, match, arguments: wanted } = binding
  return {
    text: `
      insert into ${t.of('bindings')} (exchange, queue, routing_key, pattern, type, match, arguments, owner)
      select $1, id, $3, $4, $5, $6, $7::text::jsonb, $8
      from ${t.of('queues')}
      where name = $2
      on conflict do nothing`,
    values: [exchange, queue, routingKey, pattern, type, match, wanted === null ? null : JSON.stringify(wanted), owner],
  }
}

/** Removes a binding; messages routed before stay where they are. */
export function removeBinding(
  t: Tables,
  { exchange, queue, routingKey, type, match, arguments: wanted }: Binding,
): Query<{ exchange: string }> {
  return {
    text: `
      delete from ${t.of('bindings')}
      where exchange = $1
        and queue = (select id from ${t.of('queues')} where name = $2)
        and routing_key is not distinct from $3
        and type is not distinct from $4
        and match is not distinct from $5
        and arguments is not distinct from $6::text::jsonb
      returning exchange`,
    values: [exchange, queue, routingKey, type, match, wanted === null ? null : JSON.stringify(wanted)],
  }
}

/** The largest payload that anybody declared is allowed everywhere. */
export function allowPayload(t: Tables, bytes: number): Query<unknown> {
  return { text: `update ${t.of('settings')} set payload_bytes = $1 where payload_bytes < $1`, values: [bytes] }
}

/** A queue's number in this database. */
export function queueNumber(t: Tables, name: string): Query<{ id: number }> {
  return { text: `select id from ${t.of('queues')} where name = $1`, values: [name] }
}
