import type { Outbox } from '../outbox.ts'
import type { Query } from '../postgres/queryable.ts'
import { reply } from '../postgres/requests.ts'
import type { Tables } from '../postgres/tables.ts'
import type { AnyRequestContract } from '../rules/contract.ts'
import type { Delivery } from '../rules/delivery.ts'
import { isOutcome } from '../rules/outcome.ts'
import type { Handler } from './handlers.ts'

/** The header by which a handler knows that somebody waits. */
export const REPLY_TO = 'reply-to'

/** Where a context keeps the way to the transaction of its attempt, for replies. */
export const REPLY: unique symbol = Symbol('reply')

/** Runs a statement in the transaction of the attempt, or with its end. */
export type InAttempt = <Result>(query: Query<Result>) => Promise<Result | undefined>

/** A context's way to the transaction of its attempt; users have no name for it. */
export interface ReplyContext {
  readonly [REPLY]: InAttempt
}

export interface Replying {
  readonly tables: Tables
  readonly outbox: Pick<Outbox, 'writtenReply'>
  /** Nobody waited any more. */
  tooLate(delivery: Delivery): void
}

/** A handler whose answer is the reply. A message that nobody waits for is handled all the same. */
export function replying(
  contract: AnyRequestContract,
  handler: (delivery: never, context: never) => unknown,
  { tables, outbox, tooLate }: Replying,
): Handler<never, never> {
  return async (delivery: Delivery, context: ReplyContext) => {
    const answer = await handler(delivery as never, context as never)
    if (isOutcome(answer)) return answer
    const json = await outbox.writtenReply(contract, answer)
    if (delivery.headers[REPLY_TO] === undefined) return undefined
    const answered = await context[REPLY](reply(tables, { request: delivery.id, queue: delivery.queue, json }))
    if (answered?.taken === false) tooLate(delivery)
    return undefined
  }
}
