import type { Context } from '../context.ts'
import { Loop } from '../machinery/loop.ts'
import { Throttle } from '../machinery/throttle.ts'
import { queueChannel } from '../postgres/channels.ts'
import { readyQueues } from '../postgres/claim.ts'
import { run } from '../postgres/queryable.ts'
import { summarise } from '../rules/error-summary.ts'

export interface ClaimLoopOptions {
  /** How often to look for ready deliveries that no notification told of, in milliseconds. @default 5000 */
  readonly pollIntervalMs?: number
  /** The same while there are no notifications: behind a pooler, or while the connection is being made again. @default 500 */
  readonly pollIntervalWithoutListenMs?: number
}

const DEFAULTS = Object.freeze({ pollIntervalMs: 5_000, pollIntervalWithoutListenMs: 500 })

/**
 * Wakes the consumers of a process: one subscription per queue on the shared connection, and one poll for all queues
 * together. A notification is a hint; the poll is the truth.
 *
 * It runs from the first consumer that enlists until the last has left.
 */
export class ClaimLoop {
  readonly #context: Context
  readonly #options: Required<ClaimLoopOptions>
  readonly #enlisted = new Map<number, Set<() => void>>()
  readonly #subscriptions = new Map<number, () => void>()
  readonly #throttle = new Throttle()
  #poll: Loop | undefined
  #unwatch: (() => void) | undefined

  constructor(context: Context, options: ClaimLoopOptions = {}) {
    this.#context = context
    this.#options = { ...DEFAULTS, ...options }
  }

  /** Calls `wake` whenever the queue may have something ready; what it returns ends that. */
  enlist(queue: number, wake: () => void): () => void {
    const wakes = this.#enlisted.get(queue) ?? this.#open(queue)
    wakes.add(wake)
    this.#run()
    return () => {
      wakes.delete(wake)
      if (wakes.size === 0 && this.#enlisted.get(queue) === wakes) this.#close(queue)
    }
  }

  /** For a relay in the same process, which knows what it has just committed. */
  wake(queues: Iterable<number>): void {
    for (const queue of queues) for (const wake of this.#enlisted.get(queue) ?? []) wake()
  }

  #open(queue: number): Set<() => void> {
    const wakes = new Set<() => void>()
    const { listener, tables } = this.#context
    this.#enlisted.set(queue, wakes)
    this.#subscriptions.set(
      queue,
      listener.subscribe(queueChannel(tables, queue), () => this.wake([queue])),
    )
    return wakes
  }

  #close(queue: number): void {
    this.#enlisted.delete(queue)
    this.#subscriptions.get(queue)?.()
    this.#subscriptions.delete(queue)
    if (this.#enlisted.size === 0) this.#rest()
  }

  #run(): void {
    if (this.#poll) return
    const poll = new Loop(() => this.#look(), { onError: (error) => this.#report(error) })
    this.#unwatch = this.#context.listener.onChange(() => poll.wake())
    this.#poll = poll
    poll.start()
  }

  #rest(): void {
    this.#unwatch?.()
    void this.#poll?.stop()
    this.#poll = undefined
  }

  #report(error: unknown): void {
    const summary = summarise(error)
    if (this.#throttle.allows(summary.message))
      this.#context.events.emit('error', { where: 'claim loop', error: summary })
  }

  async #look(): Promise<number> {
    const { database, tables, listener } = this.#context
    const ready = await run(database, readyQueues(tables, { queues: [...this.#enlisted.keys()] }))
    this.wake(ready.map(({ queue }) => queue))
    return listener.healthy ? this.#options.pollIntervalMs : this.#options.pollIntervalWithoutListenMs
  }
}
