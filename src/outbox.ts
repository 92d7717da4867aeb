import { InvalidOption, TransactionAborted } from './errors.ts'
import type { EventBus } from './events.ts'
import { type Published, publishAll, publishAllProven } from './postgres/outbox.ts'
import { type Query, type Queryable, run } from './postgres/queryable.ts'
import { refusal } from './postgres/refusal.ts'
import type { Tables } from './postgres/tables.ts'
import { hasCode } from './rules/error-summary.ts'
import { batches, encode, type Message, type PublishOptions, prepare, type RawMessage } from './rules/message.ts'
import type { MessageLimits } from './rules/validate.ts'
import { type AnyTransaction, outsideOfTransaction, recognise } from './transaction-handle.ts'

export type { Published } from './postgres/outbox.ts'

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

  constructor({ tables, limits, events }: { tables: Tables; limits: MessageLimits; events: EventBus }) {
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
    const messages = await this.#encoded(given, options)
    const { queryable, proof } = await recognise(handle)
    if (proof === undefined) return this.#answer(given, await this.#append(queryable, messages))
    return this.#answer(given, await this.#appendProven(queryable, messages, proof, handle))
  }

  /** Publishes in a transaction that is known to be one: a handler's. */
  async publishIn(
    queryable: Queryable,
    given: Publishable | readonly Publishable[],
    options?: PublishOptions,
  ): Promise<Published | Published[]> {
    return this.#answer(given, await this.#append(queryable, await this.#encoded(given, options)))
  }

  async #encoded(given: Publishable | readonly Publishable[], options?: PublishOptions): Promise<string[]> {
    if (isList(given) && options?.id !== undefined)
      throw new InvalidOption('id', 'it would be the id of every message of the list')
    const messages = listOf(given).map((one) => prepare(one, options))
    for (const { contract, payload } of messages) await contract?.parse(payload)
    return batches(messages.map((message) => encode(message, this.#limits))).map(({ json }) => json)
  }

  async #append(queryable: Queryable, calls: readonly string[]): Promise<Published[]> {
    const published: Published[] = []
    for (const call of calls) published.push(...(await this.#run(queryable, publishAll(this.#tables, call))))
    return published
  }

  /** The first call shows whether the handle is in a transaction: outside of one it answers no row and adds nothing. */
  async #appendProven(
    queryable: Queryable,
    calls: readonly string[],
    proof: string,
    handle: unknown,
  ): Promise<Published[]> {
    const published: Published[] = []
    for (const call of calls) {
      const rows = await this.#run(queryable, publishAllProven(this.#tables, call, proof))
      if (rows.length === 0) throw outsideOfTransaction(handle)
      published.push(...rows)
    }
    return published
  }

  async #run(queryable: Queryable, query: Query<Published>): Promise<Published[]> {
    try {
      return await run(queryable, query)
    } catch (error) {
      if (hasCode(error, '25P02')) throw new TransactionAborted('tx', { cause: error })
      throw refusal(this.#tables, error)
    }
  }

  #answer(given: Publishable | readonly Publishable[], published: Published[]): Published | Published[] {
    this.#events.emit('published', {
      messages: published.length,
      duplicates: published.filter(({ duplicate }) => duplicate).length,
    })
    return isList(given) ? published : published[0]!
  }
}

function listOf(given: Publishable | readonly Publishable[]): readonly Publishable[] {
  return isList(given) ? given : [given]
}

function isList(given: Publishable | readonly Publishable[]): given is readonly Publishable[] {
  return Array.isArray(given)
}
