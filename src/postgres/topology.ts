import { jsonFrom, timeFrom } from '../rules/driver-values.ts'
import type { FlowSettings } from '../rules/flow.ts'
import type { RetryPolicy } from '../rules/retry.ts'
import type { Binding, ExchangeKind } from '../rules/route.ts'
import {
  DEFAULT_NEWER_VERSIONS,
  type DeadLetterRoute,
  type NewerVersions,
  type QueueSettings,
  type StreamSettings,
} from '../rules/topology.ts'
import type { Query, Row } from './queryable.ts'
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
  readonly newerVersions: NewerVersions
  /** Null for a standard queue. */
  readonly stream: StreamSettings | null
  readonly owner: string | null
  readonly declaredAt: Date
}

/** A binding as it is in the database. */
export interface StoredBinding extends Binding {
  readonly owner: string | null
}

/** A contract as it is stored. */
export interface DeclaredContract {
  readonly name: string
  readonly version: number
  readonly exchange: string
  /** What its payload is, as JSON Schema; null when its schema library cannot write that. */
  readonly schema: Readonly<Record<string, unknown>> | null
  /** The schema library. */
  readonly vendor: string | null
  /** The paths of the payload that are stored encrypted. */
  readonly encrypted: readonly string[]
}

/** A contract as it is in the database. */
export interface StoredContract extends DeclaredContract {
  readonly owner: string | null
  readonly declaredAt: Date
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
    decode: (row) => ({ ...row, declaredAt: timeFrom(row.declaredAt) }) as StoredExchange,
  }
}

export function storedQueues(t: Tables): Query<StoredQueue> {
  return {
    text: `
      select id, name, kind, retry, max_crashes as "maxCrashes", dead_letter as "deadLetter",
             newer_versions as "newerVersions", flow, stream, owner, declared_at as "declaredAt"
      from ${t.of('queues')}
      order by name`,
    values: [],
    decode: queueOf,
  }
}

/** One queue, or no row. */
export function storedQueue(t: Tables, name: string): Query<StoredQueue> {
  return {
    text: `
      select id, name, kind, retry, max_crashes as "maxCrashes", dead_letter as "deadLetter",
             newer_versions as "newerVersions", flow, stream, owner, declared_at as "declaredAt"
      from ${t.of('queues')}
      where name = $1`,
    values: [name],
    decode: queueOf,
  }
}

function queueOf(row: Row): StoredQueue {
  const { retry, deadLetter, flow, stream, declaredAt } = row
  return {
    ...row,
    retry: jsonFrom(retry),
    deadLetter: jsonFrom(deadLetter),
    flow: jsonFrom(flow),
    stream: jsonFrom(stream),
    declaredAt: timeFrom(declaredAt),
  } as StoredQueue
}

export function storedBindings(t: Tables): Query<StoredBinding> {
  return {
    text: `
      select b.exchange, q.name as queue, b.routing_key as "routingKey", b.pattern, b.type, b.match, b.arguments, b.owner
      from ${t.of('bindings')} b
      join ${t.of('queues')} q on q.id = b.queue
      order by q.name, b.exchange, b.routing_key, b.type`,
    values: [],
    decode: (row) => ({ ...row, arguments: jsonFrom(row.arguments) }) as StoredBinding,
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
  const { name, kind, retry, maxCrashes, deadLetter, newerVersions = DEFAULT_NEWER_VERSIONS, stream } = queue
  return {
    text: `
      insert into ${t.of('queues')} (name, kind, max_attempts, max_crashes, retry, dead_letter, owner, newer_versions, stream)
      values ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7, $8, $9::text::jsonb)
      on conflict (name) do update
      set max_attempts = excluded.max_attempts, max_crashes = excluded.max_crashes, retry = excluded.retry,
          dead_letter = excluded.dead_letter, newer_versions = excluded.newer_versions, stream = excluded.stream,
              owner = coalesce(queues.owner, excluded.owner), declared_at = clock_timestamp()`,
    values: [
      name,
      kind,
      retry.maxAttempts,
      maxCrashes,
      JSON.stringify(retry),
      deadLetter ? JSON.stringify(deadLetter) : null,
      owner,
      newerVersions,
      stream ? JSON.stringify(stream) : null,
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

/** Keeps a contract by its name and version: what was declared last stands, and its first owner stays. */
export function putContract(t: Tables, contract: DeclaredContract, owner: string | null): Query<unknown> {
  const { name, version, exchange, schema, vendor, encrypted } = contract
  return {
    text: `
      insert into ${t.of('contracts')} as c (name, version, exchange, schema, vendor, encrypted, owner)
      values ($1, $2, $3, $4::text::json, $5, $6::text[], $7)
      on conflict (name, version) do update
      set exchange = excluded.exchange, schema = excluded.schema, vendor = excluded.vendor, encrypted = excluded.encrypted,
          owner = coalesce(c.owner, excluded.owner), declared_at = clock_timestamp()`,
    values: [name, version, exchange, schema === null ? null : JSON.stringify(schema), vendor, encrypted, owner],
  }
}

/** The contracts, the latest version of each first. */
export function storedContracts(t: Tables): Query<StoredContract> {
  return {
    text: `
      select name, version, exchange, schema::text as schema, vendor, encrypted, owner, declared_at as "declaredAt"
      from ${t.of('contracts')}
      order by name, version desc`,
    values: [],
    decode: (row) => ({ ...row, schema: jsonFrom(row.schema), declaredAt: timeFrom(row.declaredAt) }) as StoredContract,
  }
}

/** A queue's number in this database. */
export function queueNumber(t: Tables, name: string): Query<{ id: number }> {
  return { text: `select id from ${t.of('queues')} where name = $1`, values: [name] }
}
