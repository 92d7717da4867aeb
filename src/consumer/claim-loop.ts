import type { Context } from '../context.ts'
import { Loop } from '../machinery/loop.ts'
import { Thrift } from '../machinery/thrift.ts'
import { Throttle } from '../machinery/throttle.ts'
import { flowChannel, queueChannel } from '../postgres/channels.ts'
import { lookAtQueues, type QueueLook } from '../postgres/flow.ts'
import { run } from '../postgres/queryable.ts'
import { summarise } from '../rules/error-summary.ts'
import { BOTTOM, type Positions } from '../rules/position.ts'
import { FROM_THE_BOTTOM } from './depth.ts'
import { Ground } from './ground.ts'

export interface ClaimLoopOptions {
  /** How often to look for ready deliveries that no notification told of, in milliseconds. @default 5000 */
  readonly pollIntervalMs?: number
  /** The same while there are no notifications: behind a pooler, or while the connection is being made again. @default 500 */
  readonly pollIntervalWithoutListenMs?: number
}

const DEFAULTS = Object.freeze({ pollIntervalMs: 5_000, pollIntervalWithoutListenMs: 500 })

/** What a consumer is told. */
export interface Enlisted {
  /** The queue may have something ready. */
  wake(): void
  /** How the queue is: open or closed, by what rules; undefined when it is gone. `askedAt` is when the database was asked. */
  see?(look: QueueLook | undefined, askedAt: number): void
}

/**
 * Wakes the consumers of a process: one subscription per queue on the shared connection, and one poll for all queues
 * together. A notification is a hint; the poll is the truth. It looks from the bottom as long as that is cheap, and else from
 * where it knows that nothing is left below.
 *
 * It runs from the first consumer that enlists until the last has left.
 */
export class ClaimLoop {
  readonly #context: Context
  readonly #options: Required<ClaimLoopOptions>
  readonly #enlisted = new Map<number, Set<Enlisted>>()
  readonly #subscriptions = new Map<number, () => void>()
  readonly #grounds = new Map<number, Ground>()
  readonly #whole = new Thrift(FROM_THE_BOTTOM)
  readonly #throttle = new Throttle()
  #poll: Loop | undefined
  #unwatch: (() => void)[] = []

  constructor(context: Context, options: ClaimLoopOptions = {}) {
    this.#context = context
    this.#options = { ...DEFAULTS, ...options }
  }

  /** Tells of the queue from now on; what it returns ends that. */
  enlist(queue: number, consumer: Enlisted): () => void {
    const consumers = this.#enlisted.get(queue) ?? this.#open(queue)
    consumers.add(consumer)
    this.#run()
    return () => {
      consumers.delete(consumer)
      if (consumers.size === 0 && this.#enlisted.get(queue) === consumers) this.#close(queue)
    }
  }

  /** Looks at all queues now. */
  look(): void {
    this.#poll?.wake()
  }

  /** For a relay in the same process, which knows what it has just committed. */
  wake(queues: Iterable<number>): void {
    for (const queue of queues) for (const consumer of this.#enlisted.get(queue) ?? []) consumer.wake()
  }

  #open(queue: number): Set<Enlisted> {
    const consumers = new Set<Enlisted>()
    const { listener, tables } = this.#context
    this.#enlisted.set(queue, consumers)
    this.#grounds.set(queue, new Ground())
    this.#subscriptions.set(
      queue,
      listener.subscribe(queueChannel(tables, queue), () => this.wake([queue])),
    )
    return consumers
  }

  #close(queue: number): void {
    this.#enlisted.delete(queue)
    this.#subscriptions.get(queue)?.()
    this.#subscriptions.delete(queue)
    this.#grounds.delete(queue)
    if (this.#enlisted.size === 0) this.#rest()
  }

  #run(): void {
    if (this.#poll) return
    const poll = new Loop(() => this.#look(), { onError: (error) => this.#report(error) })
    const { listener, tables } = this.#context
    this.#unwatch = [listener.onChange(() => poll.wake()), listener.subscribe(flowChannel(tables), () => poll.wake())]
    this.#poll = poll
    poll.start()
  }

  #rest(): void {
    for (const unwatch of this.#unwatch.splice(0)) unwatch()
    void this.#poll?.stop()
    this.#poll = undefined
  }

  #report(error: unknown): void {
    const summary = summarise(error)
    if (this.#throttle.allows(summary.message))
      this.#context.events.emit('error', { where: 'claim loop', error: summary })
  }

  async #look(): Promise<number> {
    const { listener } = this.#context
    const queues = [...this.#enlisted.keys()]
    const askedAt = performance.now()
    const looks = await this.#lookAt(queues)
    const now = performance.now()
    for (const look of looks) this.#grounds.get(look.queue)?.saw(look, { askedAt, now })
    for (const queue of queues) {
      const look = looks.find((one) => one.queue === queue)
      for (const consumer of this.#enlisted.get(queue) ?? []) consumer.see?.(look, askedAt)
    }
    this.wake(looks.filter(({ ready }) => ready).map(({ queue }) => queue))
    return listener.healthy ? this.#options.pollIntervalMs : this.#options.pollIntervalWithoutListenMs
  }

  async #lookAt(queues: readonly number[]): Promise<QueueLook[]> {
    const { database, tables } = this.#context
    const from = (groundOf: (queue: number) => Positions) =>
      run(database, lookAtQueues(tables, { queues, grounds: queues.flatMap(groundOf) }))
    if (this.#whole.due) return await this.#whole.spend(() => from(() => BOTTOM))
    return await from((queue) => this.#grounds.get(queue)?.positions ?? BOTTOM)
  }
}
