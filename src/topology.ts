import { isDeepStrictEqual } from 'node:util'
import type { Context } from './context.ts'
import { TopologyConflict, UnknownExchange, UnknownHandlerContract, UnknownQueue } from './errors.ts'
import { type Queryable, run } from './postgres/queryable.ts'
import { refusal } from './postgres/refusal.ts'
import {
  allowPayload,
  type DeclaredContract,
  lockTopology,
  putBinding,
  putContract,
  putExchange,
  putFlows,
  putQueue,
  queueNumber,
  removeBinding,
  type StoredBinding,
  type StoredContract,
  type StoredExchange,
  type StoredQueue,
  storedBindings,
  storedContracts,
  storedExchanges,
  storedQueues,
} from './postgres/topology.ts'
import type { AnyContract } from './rules/contract.ts'
import { everyField } from './rules/flow.ts'
import { jsonSchemaOf } from './rules/json-schema.ts'
import { parseOptions, shape } from './rules/options.ts'
import { admits, type Binding } from './rules/route.ts'
import { DEFAULT_NEWER_VERSIONS, type Topology } from './rules/topology.ts'

export type { StoredBinding, StoredContract, StoredExchange, StoredQueue } from './postgres/topology.ts'

/** What is declared in the database, by all services that share it. */
export interface StoredTopology {
  readonly exchanges: readonly StoredExchange[]
  readonly queues: readonly StoredQueue[]
  readonly bindings: readonly StoredBinding[]
  /** The shapes of messages, the latest version of each first. */
  readonly contracts: readonly StoredContract[]
}

/** What declaring this topology would add or refuse, and what is there beside it. */
export interface TopologyDiff {
  readonly missing: readonly string[]
  readonly conflicts: readonly TopologyConflict[]
  /** Declared by others, or by an earlier version of this service; never removed by declaring. */
  readonly extra: readonly string[]
}

/** Whether this topology wins over what another process declared. */
export interface DeclareOptions {
  /** Lets this process' settings win over what another process declared. @default false */
  readonly force?: boolean
}

const DECLARE = shape((z) => z.strictObject({ force: z.boolean().default(false) }))

/**
 * Declares exchanges, queues and bindings: adds what is missing, removes nothing, and refuses a setting that another process
 * declared differently, with both values, unless forced. All of it or nothing; any number of processes may declare at once.
 */
export class TopologyStore {
  readonly #context: Context
  readonly #declared: Topology
  readonly #service: string | null
  readonly #contracts: Set<AnyContract>

  constructor(context: Context, declared: Topology, service: string | undefined) {
    this.#context = context
    this.#declared = declared
    this.#service = service ?? null
    this.#contracts = new Set(declared.contracts)
  }

  /** Contracts that are handled here, to be declared with the rest. */
  know(contracts: readonly AnyContract[]): void {
    for (const contract of contracts) this.#contracts.add(contract)
  }

  async declare(options: DeclareOptions = {}): Promise<void> {
    const { force } = parseOptions(DECLARE, options)
    await this.#transaction(async (queryable) => {
      await run(queryable, lockTopology(this.#context.tables))
      const [conflict] = force ? [] : conflictsBetween(this.#declared, await this.#read(queryable))
      if (conflict) throw conflict
      await this.#put(queryable)
    })
  }

  async stored(): Promise<StoredTopology> {
    return await this.#translated(() => this.#read(this.#context.database))
  }

  async diff(): Promise<TopologyDiff> {
    const stored = await this.stored()
    const mine = namesOf({ ...this.#declared, contracts: [...this.#contracts] })
    const theirs = namesOf(stored)
    return {
      missing: mine.filter((name) => !theirs.includes(name)),
      conflicts: conflictsBetween(this.#declared, stored),
      extra: theirs.filter((name) => !mine.includes(name)),
    }
  }

  /** Removes one binding; messages that were routed before stay in the queue. Says whether it was there. */
  async unbind(binding: Partial<Binding> & Pick<Binding, 'exchange' | 'queue'>): Promise<boolean> {
    const whole = { routingKey: null, pattern: null, type: null, match: null, arguments: null, ...binding }
    const removed = await this.#translated(() =>
      run(this.#context.database, removeBinding(this.#context.tables, whole)),
    )
    return removed.length > 0
  }

  /** The number of a queue in this database. */
  async numberOf(queue: string): Promise<number> {
    const [found] = await this.#translated(() => run(this.#context.database, queueNumber(this.#context.tables, queue)))
    if (!found)
      throw new UnknownQueue(
        queue,
        this.#declared.queues.map(({ name }) => name),
      )
    return found.id
  }

  /** Refuses a handler for what no binding can bring to its queue. A routing key that is computed per message counts as any. */
  admit(queue: string, contract: { readonly name: string; readonly exchange: string }): void {
    if (contract.exchange === '') return
    const kind = this.#declared.exchanges.find(({ name }) => name === contract.exchange)?.kind
    if (kind === undefined)
      throw new UnknownExchange(
        contract.exchange,
        this.#declared.exchanges.map(({ name }) => name),
      )
    const reaches = this.#declared.bindings.some(
      (binding) =>
        binding.queue === queue &&
        binding.exchange === contract.exchange &&
        admits({ ...binding, routingKey: null, arguments: null, match: null }, kind, {
          exchange: contract.exchange,
          routingKey: '',
          type: contract.name,
        }),
    )
    if (!reaches) throw new UnknownHandlerContract(queue, contract.name)
  }

  async #read(queryable: Queryable): Promise<StoredTopology> {
    const t = this.#context.tables
    return {
      exchanges: await run(queryable, storedExchanges(t)),
      queues: await run(queryable, storedQueues(t)),
      bindings: await run(queryable, storedBindings(t)),
      contracts: await run(queryable, storedContracts(t)),
    }
  }

  async #put(queryable: Queryable): Promise<void> {
    const t = this.#context.tables
    const { exchanges, queues, bindings, limits } = this.#declared
    for (const exchange of byName(exchanges)) await run(queryable, putExchange(t, exchange, this.#service))
    for (const queue of byName(queues)) await run(queryable, putQueue(t, queue, this.#service))
    if (queues.length > 0) await run(queryable, putFlows(t, queues))
    for (const binding of bindings) await run(queryable, putBinding(t, binding, this.#service))
    for (const contract of byName([...this.#contracts]))
      await run(queryable, putContract(t, declaredOf(contract), this.#service))
    await run(queryable, allowPayload(t, limits.payloadBytes))
  }

  async #transaction(work: (queryable: Queryable) => Promise<void>): Promise<void> {
    const { database } = this.#context
    await this.#translated(() => database.transaction((tx) => work(database.queryable(tx))))
  }

  async #translated<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } catch (error) {
      throw refusal(this.#context.tables, error)
    }
  }
}

function conflictsBetween(declared: Topology, stored: StoredTopology): TopologyConflict[] {
  const conflicts: TopologyConflict[] = []
  for (const { name, kind } of declared.exchanges) {
    const there = stored.exchanges.find((exchange) => exchange.name === name)
    if (there && there.kind !== kind)
      conflicts.push(new TopologyConflict(name, 'kind', { declared: kind, stored: there.kind }))
  }
  for (const queue of declared.queues) {
    const there = stored.queues.find(({ name }) => name === queue.name)
    if (there) conflicts.push(...queueConflicts(queue, there))
  }
  return conflicts
}

function queueConflicts(declared: Topology['queues'][number], stored: StoredQueue): TopologyConflict[] {
  const mine: Record<string, unknown> = {
    kind: declared.kind,
    maxCrashes: declared.maxCrashes,
    deadLetter: declared.deadLetter ?? null,
    newerVersions: declared.newerVersions ?? DEFAULT_NEWER_VERSIONS,
    ...prefixed('retry', declared.retry),
    ...everyField(declared.flow),
    ...prefixed('stream', declared.stream ?? {}),
  }
  const theirs: Record<string, unknown> = {
    kind: stored.kind,
    maxCrashes: stored.maxCrashes,
    deadLetter: stored.deadLetter,
    newerVersions: stored.newerVersions,
    ...prefixed('retry', stored.retry),
    ...everyField(stored.flow),
    ...prefixed('stream', stored.stream ?? {}),
  }
  return Object.keys(mine)
    .filter((setting) => !isDeepStrictEqual(mine[setting], theirs[setting]))
    .map(
      (setting) => new TopologyConflict(declared.name, setting, { declared: mine[setting], stored: theirs[setting] }),
    )
}

function prefixed(prefix: string, settings: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [`${prefix}.${name}`, value]))
}

function declaredOf({ name, version, exchange, schema, encrypted }: AnyContract): DeclaredContract {
  const { vendor } = schema['~standard']
  return { name, version, exchange, schema: jsonSchemaOf(schema), vendor, encrypted }
}

function namesOf({ exchanges, queues, bindings, contracts }: StoredTopology | Topology): string[] {
  return [
    ...exchanges.filter(({ name }) => name !== '').map(({ name }) => `exchange "${name}"`),
    ...queues.map(({ name }) => `queue "${name}"`),
    ...bindings.map(toldOf),
    ...new Set(contracts.map(({ name, version }) => `contract "${name}" version ${version}`)),
  ]
}

function toldOf({ exchange, queue, routingKey, type, arguments: wanted }: Binding): string {
  const by = [
    routingKey === null ? '' : ` routing key "${routingKey}"`,
    type === null ? '' : ` type "${type}"`,
    wanted === null ? '' : ` headers ${JSON.stringify(wanted)}`,
  ].join('')
  return `binding of queue "${queue}" to exchange "${exchange}"${by}`
}

function byName<Named extends { readonly name: string }>(named: readonly Named[]): Named[] {
  return [...named].sort((a, b) => (a.name < b.name ? -1 : 1))
}
