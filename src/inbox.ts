import { InvalidOption } from './errors.ts'
import { inSavepoint } from './in-savepoint.ts'
import { forget, inheritProcessed, remember, rememberProven } from './postgres/inbox.ts'
import { type Query, run } from './postgres/queryable.ts'
import type { Tables } from './postgres/tables.ts'
import { type AnyTransaction, outsideOfTransaction, recognise } from './transaction-handle.ts'

/** `duplicate`: the message was processed before, and the work was not called. */
export type Once<Value> = { readonly status: 'processed'; readonly value: Value } | { readonly status: 'duplicate' }

/**
 * The processed ids of one consumer, for messages that come from elsewhere: a webhook, another broker, a file.
 *
 * ```ts
 * await db.transaction().execute(async (tx) => {
 *   const result = await posthaste.inbox('billing').once(tx, event.id, () => charge(tx, event))
 *   if (result.status === 'duplicate') log.info('seen before')
 * })
 * ```
 */
export class Inbox {
  readonly #tables: Tables
  readonly #consumer: string

  constructor(tables: Tables, consumer: string) {
    this.#tables = tables
    this.#consumer = consumer
  }

  /**
   * Calls the work once per message id, however often and from wherever it is tried: the id is noted in your transaction, so
   * id and effect are committed together or not at all. Whoever comes while another transaction notes the same id waits for
   * that one, two seconds at most (55P03). When the work throws, the note is taken back and its error is yours.
   */
  async once<Value>(tx: AnyTransaction, messageId: string, work: () => Value | Promise<Value>): Promise<Once<Value>> {
    if (!UUID.test(messageId)) throw new InvalidOption('messageId', 'it is not a uuid')
    const { queryable, proof } = await recognise(tx)
    const facts = { messageId, consumer: this.#consumer }
    const [noted] = await run(queryable, this.#noting(facts, proof))
    if (!noted) throw outsideOfTransaction(tx)
    if (!noted.fresh) return { status: 'duplicate' }
    try {
      return { status: 'processed', value: await work() }
    } catch (error) {
      // in an aborted transaction nothing was noted anyway
      await run(queryable, forget(this.#tables, facts)).catch(() => {})
      throw error
    }
  }

  /**
   * Takes over, in your transaction, the processed ids of another consumer: after a rename, a split or a merge nothing that it
   * has done is done again. The other must not be running any more. Twice is once; resolves to how many ids were new.
   *
   * ```ts
   * await db.transaction().execute((tx) => posthaste.inbox('billing-eu').inherit(tx, 'billing'))
   * ```
   */
  async inherit(tx: AnyTransaction, from: string): Promise<number> {
    return await inSavepoint(tx, async (queryable) => {
      const [inherited] = await run(queryable, inheritProcessed(this.#tables, { heir: this.#consumer, from }))
      return inherited!
    })
  }

  #noting(facts: { messageId: string; consumer: string }, proof: string | undefined): Query<{ fresh: boolean }> {
    const tables = this.#tables
    return proof === undefined ? remember(tables, facts) : rememberProven(tables, { ...facts, proof })
  }
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
