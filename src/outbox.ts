import { ConnectionLost, InvalidOption, TransactionAborted, UnknownExchange } from './errors.ts'
import type { EventBus } from './events.ts'
import type { FullQueues } from './full-queues.ts'
import { cancelScheduled } from './postgres/flow.ts'
import { type Published, publishAll, publishAllProven } from './postgres/outbox.ts'
import { areAlike, exchangeExists, publishAlike, publishOne, publishOneUnasked } from './postgres/plain-messages.ts'
import { type Query, type Queryable, run } from './postgres/queryable.ts'
import { refusal } from './postgres/refusal.ts'
import type { Tables } from './postgres/tables.ts'
import type { AnyRequestContract } from './rules/contract.ts'
import { encryptPaths, fingerprints, type Keyring } from './rules/encryption.ts'
import { isAborted, isConnectionLoss, summarise } from './rules/error-summary.ts'
import { bytesOf, jsonText } from './rules/json-text.ts'
import {
  batches,
  type CheckedMessage,
  check,
  encode,
  type Message,
  type PublishOptions,
  prepare,
  type RawMessage,
  slices,
} from './rules/message.ts'
import { parseOptions, shape } from './rules/options.ts'
import type { MessageLimits } from './rules/validate.ts'
import { SeenExchanges } from './seen-exchanges.ts'
import { type AnyTransaction, outsideOfTransaction, recognise } from './transaction-handle.ts'

export type { Published } from './postgres/outbox.ts'

const CANCEL = shape((z) => z.strictObject({ messageId: z.array(z.guid('it is not a uuid')) }))

export interface OutboxOptions {
  readonly tables: Tables
  readonly limits: MessageLimits
  readonly events: EventBus
  /** The keys that payloads are encrypted with. */
  readonly keys?: Keyring | undefined
  /** What refuses messages for full queues. */
  readonly full?: Pick<FullQueues, 'check'> | undefined
}

/** One message or many, with a contract or raw. */
export type Publishable = Message | RawMessage

/**
 * The producer's side: appends messages to the outbox in the caller's transaction. They leave if it commits, and never existed
 * if it rolls back.
 */
export class Outbox {
  readonly #tables: Tables
  readonly #limits: MessageLimits
  readonly #events: EventBus
  readonly #keys: Keyring | undefined
  readonly #full: Pick<FullQueues, 'check'> | undefined
  readonly #seen = new SeenExchanges()

  constructor({ tables, limits, events, keys, full }: OutboxOptions) {
    this.#full = full
    this.#keys = keys
    this.#tables = tables
    this.#limits = limits
    this.#events = events
  }

  /** Publishes with the handle of a transaction, whatever its driver; refuses anything that is not in one. */
  async publish(
    handle: AnyTransaction,
    given: Publishable | readonly Publishable[],
    options?: PublishOptions,
  ): Promise<Published | Published[]> {
    const admitted = this.#admitted(given, options)
    const messages = admitted instanceof Promise ? await admitted : admitted
    const recognised = recognise(handle)
    const { queryable, proof } = recognised instanceof Promise ? await recognised : recognised
    if (proof === undefined) return this.#answer(given, await this.#append(queryable, messages))
    return this.#answer(given, await this.#appendProven(queryable, messages, proof, handle))
  }

  /** Publishes in a transaction that is known to be one: a handler's. */
  async publishIn(
    queryable: Queryable,
    given: Publishable | readonly Publishable[],
    options?: PublishOptions,
  ): Promise<Published | Published[]> {
    const messages = await this.#admitted(given, options)
    return this.#answer(given, await this.#append(queryable, messages))
  }

  /** A message checked as for publishing, as publish_all takes it, and what of it only its publisher knows. */
  async written(
    given: Publishable,
  ): Promise<Pick<Message, 'ownId' | 'deliverAt' | 'dedupeKey'> & { readonly json: string }> {
    const [checked] = await this.#checked(given)
    const { ownId, deliverAt, dedupeKey } = prepare(given)
    return { ownId, deliverAt, dedupeKey, json: encode(checked!) }
  }

  /** Takes back deliveries that wait for their time, in the caller's transaction. */
  async cancel(handle: AnyTransaction, messageIds: readonly string[]): Promise<{ readonly cancelled: number }> {
    const { messageId: ids } = parseOptions(CANCEL, { messageId: messageIds })
    const { queryable, proof } = await recognise(handle)
    const facts = { ids, queue: null, ...(proof !== undefined && { proof }) }
    const cancelled = await this.#run(queryable, cancelScheduled(this.#tables, facts))
    return { cancelled: cancelled.length }
  }

  /** The JSON text of a reply, checked against its contract and as a payload is. */
  async writtenReply(contract: AnyRequestContract, answer: unknown): Promise<string> {
    await contract.parseReply(answer)
    const place = { messageType: contract.name, path: 'reply' }
    return jsonText(answer, this.#limits.payloadBytes, place)
  }

  /** Checked, and for no queue that is full. What is known at once is not waited for. */
  #admitted(
    given: Publishable | readonly Publishable[],
    options?: PublishOptions,
  ): CheckedMessage[] | Promise<CheckedMessage[]> {
    const checked = this.#checked(given, options)
    return checked instanceof Promise ? checked.then((messages) => this.#fitting(messages)) : this.#fitting(checked)
  }

  #fitting(messages: CheckedMessage[]): CheckedMessage[] | Promise<CheckedMessage[]> {
    const asking = this.#full?.check(messages)
    return asking instanceof Promise ? asking.then(() => messages) : messages
  }

  #checked(
    given: Publishable | readonly Publishable[],
    options?: PublishOptions,
  ): CheckedMessage[] | Promise<CheckedMessage[]> {
    if (isList(given) && options?.id !== undefined)
      throw new InvalidOption('id', 'it would be the id of every message of the list')
    if (isList(given) && options?.dedupeKey !== undefined)
      throw new InvalidOption('dedupeKey', 'it would be the key of every message of the list')
    const messages = listOf(given).map((one) => prepare(one, options))
    const parsing = parseAll(messages)
    return parsing === undefined ? this.#sealed(messages) : parsing.then(() => this.#sealed(messages))
  }

  #sealed(messages: readonly Message[]): CheckedMessage[] | Promise<CheckedMessage[]> {
    const checked = messages.map((message) => check(message, this.#limits))
    if (!messages.some(({ contract }) => contract?.encrypted.length)) return checked
    return Promise.all(checked.map((each, n) => this.#encrypted(messages[n]!, each)))
  }

  // What was checked as it will be read is now checked as it will be stored, which is larger.
  async #encrypted({ contract, payload: given, type }: Message, checked: CheckedMessage): Promise<CheckedMessage> {
    if (!contract?.encrypted.length || checked.payload === undefined) return checked
    const payload = JSON.parse(checked.payload)
    const keyId = contract.keyIdOf(given)
    const prints =
      checked.envelope.dedupe_key === undefined ? undefined : await fingerprints(this.#keys, { type, payload, keyId })
    await encryptPaths(this.#keys, { type, payload, paths: contract.encrypted, keyId })
    const text = jsonText(payload, this.#limits.payloadBytes, { messageType: type, path: 'payload' })
    return { ...checked, payload: text, ...(prints && { fingerprints: prints }) }
  }

  #append(queryable: Queryable, messages: readonly CheckedMessage[]): Promise<Published[]> {
    const { session } = queryable
    if (session && areAlike(messages))
      return messages.length === 1
        ? this.#appendOne(queryable, session, messages[0]!)
        : this.#appendAlike(queryable, messages)
    return this.#appendCalls(queryable, messages)
  }

  async #appendCalls(queryable: Queryable, messages: readonly CheckedMessage[]): Promise<Published[]> {
    const published: Published[] = []
    for (const call of callsOf(messages))
      published.push(...(await this.#run(queryable, publishAll(this.#tables, call))))
    return published
  }

  async #appendAlike(queryable: Queryable, messages: readonly CheckedMessage[]): Promise<Published[]> {
    const published: Published[] = []
    for (const some of slices(messages, ({ payload }) => bytesOf(payload!))) {
      const added = await this.#changes(queryable, publishAlike(this.#tables, some))
      published.push(...(added === some.length ? some.map(asAdded) : await this.#appendRefused(queryable, some)))
    }
    return published
  }

  async #appendOne(queryable: Queryable, session: object, message: CheckedMessage): Promise<Published[]> {
    const fresh = this.#seen.isFresh(session, message.envelope)
    const query = fresh ? publishOneUnasked(this.#tables, message) : publishOne(this.#tables, message)
    if ((await this.#changes(queryable, query)) !== 1) return await this.#appendRefused(queryable, [message])
    if (!fresh) this.#seen.note(session, message.envelope)
    return [asAdded(message)]
  }

  // Alike as they are, one exchange is all that may be missing, or some keys.
  async #appendRefused(queryable: Queryable, messages: readonly CheckedMessage[]): Promise<Published[]> {
    const { exchange } = messages[0]!.envelope
    const keyed = messages.every(({ envelope }) => envelope.key !== undefined)
    if (keyed || !(await this.#exists(queryable, exchange))) throw new UnknownExchange(exchange)
    return await this.#appendCalls(queryable, messages)
  }

  /** How many rows a statement added. */
  async #changes(queryable: Queryable, { name, text, values }: Query<never>): Promise<number | null | undefined> {
    return (await queryable.query(text, values, { name }).catch(this.#refuse)).rowCount
  }

  async #exists(queryable: Queryable, exchange: string): Promise<boolean> {
    const [answer] = await this.#run(queryable, exchangeExists(this.#tables, exchange))
    return answer!.exists
  }

  /** The first call shows whether the handle is in a transaction: outside of one it answers no row and adds nothing. */
  async #appendProven(
    queryable: Queryable,
    messages: readonly CheckedMessage[],
    proof: string,
    handle: unknown,
  ): Promise<Published[]> {
    const published: Published[] = []
    for (const call of callsOf(messages)) {
      const rows = await this.#run(queryable, publishAllProven(this.#tables, call, proof))
      if (rows.length === 0) throw outsideOfTransaction(handle)
      published.push(...rows)
    }
    return published
  }

  #run<Result>(queryable: Queryable, query: Query<Result>): Promise<Result[]> {
    return run(queryable, query).catch(this.#refuse)
  }

  readonly #refuse = (error: unknown): never => {
    if (isAborted(error)) throw new TransactionAborted('tx', { cause: error })
    if (isConnectionLoss(error)) throw new ConnectionLost('tx', summarise(error).message, { cause: error })
    throw refusal(this.#tables, error)
  }

  #answer(given: Publishable | readonly Publishable[], published: Published[]): Published | Published[] {
    if (this.#events.heard('published'))
      this.#events.emit('published', {
        messages: published.length,
        duplicates: published.filter(({ duplicate }) => duplicate).length,
      })
    return isList(given) ? published : published[0]!
  }
}

/** Whether payloads fit their schemas, in their order; a promise from the first on whose schema takes its time. */
function parseAll(messages: readonly Message[], from = 0): Promise<void> | undefined {
  for (let n = from; n < messages.length; n += 1) {
    const { contract, payload } = messages[n]!
    const parsed = contract?.parse(payload)
    if (parsed instanceof Promise) return parsed.then(() => parseAll(messages, n + 1))
  }
  return undefined
}

function asAdded({ envelope }: CheckedMessage): Published {
  return { id: envelope.id, duplicate: false }
}

function callsOf(messages: readonly CheckedMessage[]): string[] {
  return batches(messages.map(encode)).map(({ json }) => json)
}

function listOf(given: Publishable | readonly Publishable[]): readonly Publishable[] {
  return isList(given) ? given : [given]
}

function isList(given: Publishable | readonly Publishable[]): given is readonly Publishable[] {
  return Array.isArray(given)
}
