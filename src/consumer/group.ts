import { InvalidBatchAnswer } from '../errors.ts'
import type { Claimed } from '../postgres/claim.ts'
import type { Delivery } from '../rules/delivery.ts'
import type { CompleteOutcome, Outcome } from '../rules/outcome.ts'
import type { Cause } from './context.ts'
import type { Prepared } from './handlers.ts'

/** A delivery of a group, with its row. */
export interface Member {
  readonly row: Claimed
  readonly prepared: Prepared
}

/** Deliveries of one contract that its batch handler gets in one call. */
export class Group {
  readonly members: readonly Member[]
  readonly rows: readonly Claimed[]
  readonly deliveries: readonly Delivery[]

  constructor(members: readonly Member[]) {
    this.members = members
    this.rows = members.map(({ row }) => row)
    this.deliveries = members.map(({ prepared }) => prepared.delivery)
  }

  /** Each alone. */
  get singles(): readonly Group[] {
    return this.members.map((member) => new Group([member]))
  }

  /** What is published by the call was caused by all of them, and belongs to their conversation if they share one. */
  get cause(): Cause {
    const [first, ...others] = this.deliveries
    if (others.length === 0) return first!
    const conversation = first!.correlationId
    const shared = others.every(({ correlationId }) => correlationId === conversation)
    return { id: undefined, correlationId: shared ? conversation : undefined }
  }

  call(context: unknown): unknown {
    const { handler, batch, delivery } = this.members[0]!.prepared
    return handler((batch ? [...this.deliveries] : delivery) as never, context)
  }

  /** What the handler's answer means for each: what it does not name is done. */
  outcomes(answer: unknown): (Outcome | CompleteOutcome)[] {
    const { batch, settle } = this.members[0]!.prepared
    if (!batch) return [settle(answer)]
    if (answer === undefined || answer === null) return this.members.map(({ prepared }) => prepared.settle(undefined))
    if (!(answer instanceof Map)) throw new InvalidBatchAnswer('it is no Map of ids and outcomes')
    const ids = new Set(this.deliveries.map(({ id }) => id))
    for (const id of answer.keys())
      if (!ids.has(id)) throw new InvalidBatchAnswer('it names a delivery that is not of the batch')
    return this.members.map(({ prepared }) => prepared.settle(answer.get(prepared.delivery.id)))
  }
}

/** Collects what goes to batch handlers together, in the order in which it comes. */
export class Groups {
  readonly #byHandler = new Map<unknown, Member[]>()

  add(member: Member): void {
    const members = this.#byHandler.get(member.prepared.handler)
    if (members) members.push(member)
    else this.#byHandler.set(member.prepared.handler, [member])
  }

  *[Symbol.iterator](): Generator<Group> {
    for (const members of this.#byHandler.values()) yield new Group(members)
  }
}
