import { QueueFull } from './errors.ts'
import { within } from './machinery/within.ts'
import { type RefusingQueue, refusingQueues } from './postgres/flow.ts'
import { type Queryable, run } from './postgres/queryable.ts'
import type { Tables } from './postgres/tables.ts'
import type { CheckedMessage } from './rules/message.ts'
import { admits, type Routable } from './rules/route.ts'

/** A depth that is older is asked for again before anything is published. */
const FRESH_MS = 900

/** How often is looked for queues that refuse publishers, by a process that knows of none. */
const SELDOM_MS = 30_000

/** The transaction of the publisher may have the last connection: then the message passes. */
const PATIENCE_MS = 250

export interface FullQueuesOptions {
  readonly database: Queryable
  readonly tables: Tables
  /** Whether this process knows of a queue that refuses publishers. */
  readonly expected: boolean
}

/**
 * Refuses what would go to a full queue, before any SQL in the publisher's transaction: by depths that are a second old at most, read
 * on a connection of their own. Where no queue refuses publishers nobody waits for anything.
 */
export class FullQueues {
  readonly #options: FullQueuesOptions
  #queues: readonly RefusingQueue[] = []
  #askedAt = Number.NEGATIVE_INFINITY
  #asking: Promise<void> | undefined

  constructor(options: FullQueuesOptions) {
    this.#options = options
  }

  /** Throws `QueueFull` for the first message that would go to a full queue; at once, where there is nothing to ask first. */
  check(messages: readonly CheckedMessage[]): void | Promise<void> {
    const ageMs = performance.now() - this.#askedAt
    const known = this.#queues.length > 0 || this.#options.expected
    if (known && ageMs > FRESH_MS) return within(PATIENCE_MS, this.#ask()).then(() => this.#refuse(messages))
    if (!known && ageMs > SELDOM_MS) void this.#ask()
    this.#refuse(messages)
  }

  #refuse(messages: readonly CheckedMessage[]): void {
    for (const queue of this.#queues) if (queue.full !== null) refuseFor(queue, queue.full, messages)
  }

  #ask(): Promise<void> {
    this.#asking ??= this.#look().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  // What cannot be asked is not refused: publishing has errors of its own.
  async #look(): Promise<void> {
    const { database, tables } = this.#options
    const askedAt = performance.now()
    this.#queues = await run(database, refusingQueues(tables)).catch(() => [])
    this.#askedAt = askedAt
  }
}

function refuseFor({ name, bindings }: RefusingQueue, reason: string, messages: readonly CheckedMessage[]): void {
  const message = messages.find((one) => leadsTo(name, bindings, one))
  if (message) throw new QueueFull(name, message.envelope.type, reason)
}

function leadsTo(name: string, bindings: RefusingQueue['bindings'], { envelope, headers }: CheckedMessage): boolean {
  const { exchange, routing_key: routingKey, type } = envelope
  if (exchange === '' && routingKey === name) return true
  const routable: Routable = { exchange, routingKey, type, headers: headers === undefined ? {} : JSON.parse(headers) }
  return bindings.some(
    (binding) =>
      binding.exchange === exchange && admits(binding, binding.kind === 'default' ? 'direct' : binding.kind, routable),
  )
}
