import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type ContractIssue, ContractViolation, InvalidContract, InvalidMessage, UnknownOption } from '../errors.ts'
import { type EncryptionOf, KEY_ID, pathsProblem } from './encryption.ts'
import { presentable } from './error-summary.ts'
import { checkPublishOptions, type Message, newMessageId, type PublishOptions } from './message.ts'
import { pathOf } from './place.ts'
import { checkUpcasters, type Upcasters, upcast } from './upcast.ts'
import { nameProblem } from './validate.ts'

/**
 * A message type as a value that producers and consumers import. `In` is what `create` takes, `Out` what handlers get.
 */
export interface Contract<Name extends string = string, In = unknown, Out = unknown> {
  /** The type of its messages. */
  readonly name: Name
  /** The version its messages are written in. */
  readonly version: number
  /** Where they are published; '' is the default exchange. */
  readonly exchange: string
  /** What their payloads fit. */
  readonly schema: StandardSchemaV1<In, Out>
  /** How payloads of earlier versions are read. */
  readonly upcasters: Upcasters
  /** The paths of the payload that are stored encrypted. */
  readonly encrypted: readonly string[]

  /** The id of the key that a payload is encrypted with; undefined for the current one. */
  keyIdOf(payload: In): string | undefined

  /** A message with an id of its own. It is checked when it is published, not here. */
  create(input: In, options?: PublishOptions): Message<In>

  /**
   * The payload as handlers get it: brought up from `version`, then parsed by the schema. Synchronous if the schema is.
   * A `ContractViolation` or an `UnknownVersion` otherwise.
   */
  parse(payload: unknown, version?: number): Out | Promise<Out>
}

/** A contract whose messages are answered: `In` and `Out` of the reply are what a handler returns and what the requester gets. */
export interface RequestContract<
  Name extends string = string,
  In = unknown,
  Out = unknown,
  ReplyIn = unknown,
  ReplyOut = unknown,
> extends Contract<Name, In, Out> {
  readonly reply: StandardSchemaV1<ReplyIn, ReplyOut>

  /** The reply as the requester gets it. A `ContractViolation` when it does not fit. */
  parseReply(reply: unknown): ReplyOut | Promise<ReplyOut>
}

export type AnyRequestContract = RequestContract

/** Any contract, where the payload does not matter. */
export type AnyContract = Contract<string, unknown, unknown>

/** What handlers of this contract get. */
export type PayloadOf<C> = C extends Contract<string, infer _In, infer Out> ? Out : never
/** What `create` of this contract takes. */
export type InputOf<C> = C extends Contract<string, infer In, infer _Out> ? In : never

/**
 * Where messages of a contract go, what they are about, and how they change. Functions are given the payload as `create` took it.
 *
 * ```ts
 * export const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string(), country: z.string() }), {
 *   exchange: 'orders',
 *   routingKey: ({ country }) => `order.placed.${country}`,
 *   key: ({ orderId }) => orderId,
 * })
 * ```
 */
export interface ContractOptions<In = unknown> {
  /** Where its messages are published. @default '', the default exchange */
  readonly exchange?: string
  /** What bindings of the exchange compare. @default the name of the contract */
  readonly routingKey?: string | ((payload: In) => string)
  /** What the message is about; undefined for none. @default none */
  readonly key?: (payload: In) => string | null | undefined
  /** 1 to 32,767; raise it when the shape changes, and say in `upcast` how to read the earlier one. @default 1 */
  readonly version?: number
  /** From each earlier version to the next: `{ 1: (v1) => v2 }`. @default none: the schema reads every version */
  readonly upcast?: Upcasters
  /** The schema of the reply, for `posthaste.request` and `consumer.reply`. @default none: it is not answered */
  readonly reply?: StandardSchemaV1
  /**
   * Paths of the payload that are stored encrypted, with the `payloadKeys` of Posthaste: `['card.number', 'passengers.*.name']`. The
   * database, `status`, dead letters, traces and `peek` have ciphertext, handlers clear text. @default none
   */
  readonly encrypt?: readonly string[] | EncryptionOf<In>
  /** Holds an advisory lock for the key until commit: messages of one key then follow commit order, at the price of waiting. @default false */
  readonly lockKey?: boolean
}

const OPTIONS = ['exchange', 'routingKey', 'key', 'version', 'upcast', 'reply', 'encrypt', 'lockKey']

/**
 * Names a message and ties it to a schema: what is published under it fits the schema, and handlers get the schema's output.
 * The schema is any Standard Schema (zod, valibot, arktype …); publish checks it, async ones too, and stores the input.
 *
 * ```ts
 * export const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.uuid(), cents: z.int() }), {
 *   exchange: 'orders',
 *   key: (order) => order.orderId,
 * })
 *
 * await posthaste.publish(tx, OrderPlaced.create({ orderId, cents: 4200 }))
 * ```
 */
export function defineMessage<
  const Name extends string,
  Schema extends StandardSchemaV1,
  Reply extends StandardSchemaV1,
>(
  name: Name,
  schema: Schema,
  options: ContractOptions<StandardSchemaV1.InferInput<Schema>> & { readonly reply: Reply },
): RequestContract<
  Name,
  StandardSchemaV1.InferInput<Schema>,
  StandardSchemaV1.InferOutput<Schema>,
  StandardSchemaV1.InferInput<Reply>,
  StandardSchemaV1.InferOutput<Reply>
>
export function defineMessage<const Name extends string, Schema extends StandardSchemaV1>(
  name: Name,
  schema: Schema,
  options?: ContractOptions<StandardSchemaV1.InferInput<Schema>>,
): Contract<Name, StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>>
export function defineMessage<const Name extends string, Schema extends StandardSchemaV1>(
  name: Name,
  schema: Schema,
  options: ContractOptions<StandardSchemaV1.InferInput<Schema>> = {},
): Contract<Name, StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>> {
  type In = StandardSchemaV1.InferInput<Schema>
  type Out = StandardSchemaV1.InferOutput<Schema>
  checkDefinition(name, schema, options)
  const { exchange = '', version = 1, upcast: upcasters = {}, lockKey = false } = options
  const routingKeyOf = routingKeyFunction(name, options.routingKey)
  const keyOf = options.key ?? noKey
  const { paths: encrypted, keyId } = encryptionOf(options.encrypt)

  const contract: Contract<Name, In, Out> = {
    name: name.normalize('NFC') as Name,
    version,
    exchange: exchange.normalize('NFC'),
    schema: schema as StandardSchemaV1<In, Out>,
    upcasters,
    encrypted,
    keyIdOf: (payload) =>
      keyId === undefined ? undefined : checkedKeyId(name, derived(name, 'encrypt.keyId', keyId, payload)),
    create: (payload, given = NO_OPTIONS) => {
      if (given !== NO_OPTIONS) checkPublishOptions(given)
      return {
        id: given.id ?? newMessageId(),
        ownId: given.id !== undefined,
        contract: contract as AnyContract,
        type: contract.name,
        version,
        exchange: contract.exchange,
        routingKey: given.routingKey ?? derived(name, 'routingKey', routingKeyOf, payload),
        key: given.key ?? derived(name, 'key', keyOf, payload) ?? undefined,
        priority: given.priority,
        headers: given.headers,
        payload,
        body: undefined,
        contentType: undefined,
        delayMs: given.delayMs,
        deliverAt: given.deliverAt,
        expiresInMs: given.expiresInMs,
        correlationId: given.correlationId,
        causationId: given.causationId,
        lockKey: given.lockKey ?? lockKey,
        dedupeKey: given.dedupeKey,
        dedupeWindowMs: given.dedupeWindowMs,
      }
    },
    parse: (payload, from = version) => parsed(contract, upcast(contract, payload, from)),
    ...(replyOf(name, options.reply) as object),
  }
  return Object.freeze(contract)
}

/** Is this a contract, rather than a binding written out? */
export function isContract(value: unknown): value is AnyContract {
  return typeof value === 'object' && value !== null && 'schema' in value && 'create' in value
}

function replyOf(name: string, reply: StandardSchemaV1 | undefined): Partial<RequestContract> {
  if (reply === undefined) return {}
  return { reply, parseReply: (value) => parsed({ name: `${name} reply`, schema: reply }, value) }
}

function encryptionOf<In>(encrypt: ContractOptions<In>['encrypt'] = []): EncryptionOf<In> {
  return Array.isArray(encrypt) ? { paths: encrypt } : (encrypt as EncryptionOf<In>)
}

function checkedKeyId(name: string, id: unknown): string {
  if (typeof id === 'string' && KEY_ID.test(id)) return id
  throw new InvalidMessage(name, 'encrypt.keyId', 'is not 1 to 100 printable ASCII characters without spaces')
}

const NO_OPTIONS: PublishOptions = Object.freeze({})

function noKey(): undefined {}

function routingKeyFunction<In>(name: string, routingKey: ContractOptions<In>['routingKey']): (payload: In) => string {
  if (typeof routingKey === 'function') return routingKey
  const fixed = routingKey ?? name
  return () => fixed
}

function derived<In, Value>(name: string, path: string, from: (payload: In) => Value, payload: In): Value {
  try {
    return from(payload)
  } catch (cause) {
    throw new InvalidMessage(name, path, 'cannot be taken from the payload: the function of the contract threw', {
      cause,
    })
  }
}

function parsed<Out>(
  { name, schema }: Pick<Contract<string, unknown, Out>, 'name' | 'schema'>,
  payload: unknown,
): Out | Promise<Out> {
  const { validate, vendor } = schema['~standard']
  const result = validate(payload)
  return 'then' in result
    ? Promise.resolve(result).then((settled) => accepted(name, vendor, settled))
    : accepted(name, vendor, result)
}

function accepted<Out>(name: string, vendor: string, result: StandardSchemaV1.Result<Out>): Out {
  if (result.issues === undefined) return result.value
  throw new ContractViolation(
    name,
    result.issues.map((issue) => told(issue, vendor)),
  )
}

function told({ message, path = [] }: StandardSchemaV1.Issue, vendor: string): ContractIssue {
  const keys = path.map((segment) => (typeof segment === 'object' ? segment.key : segment))
  return {
    path: pathOf(
      'payload',
      keys.map((key) => (typeof key === 'number' ? key : String(key))),
    ),
    message: withoutValues(message, vendor),
  }
}

// zod tells kinds, never values; valibot and arktype end their sentences with the value; of others nothing is known.
function withoutValues(message: string, vendor: string): string {
  if (vendor === 'zod') return presentable(message)
  if (vendor === 'valibot') return presentable(message.replace(/,? but received .*$/s, ''))
  if (vendor === 'arktype') return presentable(message.replace(/ \(was .*$/s, '').replace(/^.*? (?=must )/s, ''))
  return 'does not fit the schema'
}

function checkDefinition(name: string, schema: unknown, options: ContractOptions<never>): void {
  const problem = nameProblem(name)
  if (problem !== undefined) throw new InvalidContract(String(name), `its name ${problem}`)
  if (!isStandardSchema(schema)) throw new InvalidContract(name, 'its schema is no Standard Schema')
  for (const option of Object.keys(options)) {
    if (!OPTIONS.includes(option)) throw new UnknownOption(option, OPTIONS)
  }
  if (options.reply !== undefined && !isStandardSchema(options.reply))
    throw new InvalidContract(name, 'its reply is no Standard Schema')
  const { exchange = '', version = 1, upcast: upcasters = {} } = options
  const wrong = exchange === '' ? undefined : nameProblem(exchange)
  if (wrong !== undefined) throw new InvalidContract(name, `its exchange ${wrong}`)
  checkUpcasters({ name, version, upcasters })
  if (options.encrypt !== undefined) checkEncryption(name, options.encrypt)
}

function checkEncryption(name: string, encrypt: NonNullable<ContractOptions<never>['encrypt']>): void {
  const { paths, keyId, ...others } = encryptionOf(encrypt)
  for (const option of Object.keys(others))
    throw new UnknownOption(`encrypt.${option}`, ['encrypt.paths', 'encrypt.keyId'])
  const problem = pathsProblem(paths)
  if (problem !== undefined) throw new InvalidContract(name, problem)
  if (keyId !== undefined && typeof keyId !== 'function')
    throw new InvalidContract(name, 'its encrypt.keyId is no function')
}

function isStandardSchema(schema: unknown): schema is StandardSchemaV1 {
  if (schema === null || (typeof schema !== 'object' && typeof schema !== 'function')) return false
  return typeof (schema as Partial<StandardSchemaV1>)['~standard']?.validate === 'function'
}
