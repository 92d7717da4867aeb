import type { Database, Session } from '../database.ts'
import type { EventBus } from '../events.ts'
import { abortable } from '../machinery/abortable.ts'
import { Loop } from '../machinery/loop.ts'
import { summarise } from '../rules/error-summary.ts'
import { listen, notify, unlisten } from './channels.ts'
import { Outage } from './outage.ts'
import { run } from './queryable.ts'

export { listen, notifyRelay, queueChannel, relayChannel } from './channels.ts'

export interface ListenerContext {
  readonly database: Pick<Database<unknown>, 'query' | 'session'>
  readonly events: EventBus
  /** Random, of this process alone: the name of its private channel. */
  readonly instance: string
  readonly listenUrl?: string
}

export interface ListenerOptions {
  /** How often the listener checks that notifications still arrive, in milliseconds. @default 15_000 */
  readonly probeIntervalMs?: number
  /** How long a probe may take before notifications count as lost, in milliseconds. @default 5_000 */
  readonly probeTimeoutMs?: number
  /** The longest pause between two tries to listen again, in milliseconds. @default 15_000 */
  readonly retryMs?: number
}

const DEFAULTS = Object.freeze({ probeIntervalMs: 15_000, probeTimeoutMs: 5_000, retryMs: 15_000 })

/**
 * The one LISTEN connection of a process, for its relay and its consumers. A subscriber is called for every notification on
 * its channel, and once whenever listening on it has begun or begun again, since something may have been said before: whoever
 * looks at the database at every call, and now and then without one, misses nothing.
 *
 * LISTEN may succeed and deliver nothing (a pooler that hands the session around, a connection whose other end is gone), so the
 * listener speaks to itself, through the pool, at the start and every 15 s. Until it hears itself it is not `healthy`: those
 * who rely on it poll, and it says so (`polling` with the reason; `listening` when it is healed).
 *
 * ```text
 * const off = listener.subscribe(relayChannel(tables), () => relay.wake())
 * ```
 */
export class Listener {
  readonly #context: ListenerContext
  readonly #options: Required<ListenerOptions>
  readonly #subscribers = new Map<string, Set<() => void>>()
  readonly #watchers = new Set<() => void>()
  readonly #loop: Loop
  readonly #outage: Outage
  readonly #privateChannel: string
  #session: Session | undefined
  #lost: Error | undefined
  #healthy = false
  #reason: string | undefined
  #heard: (() => void) | undefined

  constructor(context: ListenerContext, options: ListenerOptions = {}) {
    this.#context = context
    this.#options = { ...DEFAULTS, ...options }
    this.#privateChannel = `posthaste.probe.${context.instance}`
    this.#outage = new Outage(context.events, 'listener')
    this.#loop = new Loop((signal) => this.#keep(signal), {
      onError: (error) => this.#fail(error),
      backoff: { minMs: 50, maxMs: this.#options.retryMs },
    })
  }

  /** True while notifications are known to arrive. */
  get healthy(): boolean {
    return this.#healthy
  }

  /** Subscribes to a channel; the answer unsubscribes. The callback gets no payload: a notification is a hint to look. */
  subscribe(channel: string, callback: () => void): () => void {
    // A function subscribed twice is two subscribers.
    const subscriber = () => callback()
    const subscribers = this.#subscribers.get(channel) ?? new Set()
    this.#subscribers.set(channel, subscribers.add(subscriber))
    if (this.#session) void this.#listenTo(this.#session, channel, subscriber)
    return () => this.#unsubscribe(channel, subscriber)
  }

  /** Calls the subscribers of a channel in this process, without the database. */
  tell(channel: string): void {
    for (const subscriber of [...(this.#subscribers.get(channel) ?? [])]) subscriber()
  }

  /** Calls back whenever `healthy` has changed; the answer ends that. */
  onChange(callback: () => void): () => void {
    const watcher = () => callback()
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /** Begins to connect; does not wait for it. Twice is once. */
  start(): void {
    this.#loop.start()
  }

  /** Ends the connection; subscribers stay subscribed, for another `start()`. */
  async stop(): Promise<void> {
    await this.#loop.stop()
    await this.#close()
    this.#turn(false)
    this.#reason = undefined
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #keep(signal: AbortSignal): Promise<number> {
    if (this.#lost) throw this.#lost
    const session = this.#session ?? (await this.#connect(signal))
    await this.#probe(session, signal)
    this.#succeed()
    return this.#options.probeIntervalMs
  }

  async #connect(signal: AbortSignal): Promise<Session> {
    const { database, instance, listenUrl } = this.#context
    if (!database.session) throw new Error('the database adapter opens no connections of its own')
    const opening = database.session({
      applicationName: `posthaste listener ${instance}`,
      ...(listenUrl !== undefined && { url: listenUrl }),
    })
    const session = await abortable(opening, signal, (late) => 'unavailable' in late || void late.close())
    if ('unavailable' in session) throw new Error(session.unavailable)
    this.#session = session
    session.onNotification((channel) => this.#hear(channel))
    session.onLost((error) => this.#lose(session, error))
    for (const channel of [this.#privateChannel, ...this.#subscribers.keys()]) await run(session, listen(channel))
    return session
  }

  // Through the pool, so that a pooler in between cannot answer us on the connection we asked on.
  async #probe(session: Session, signal: AbortSignal): Promise<void> {
    const { promise: heard, resolve } = Promise.withResolvers<void>()
    this.#heard = resolve
    const answered = Promise.all([heard, run(this.#context.database, notify(this.#privateChannel))])
    const timeout = AbortSignal.timeout(this.#options.probeTimeoutMs)
    try {
      await abortable(answered, AbortSignal.any([signal, timeout]))
    } catch (error) {
      if (timeout.aborted)
        throw new Error(
          'LISTEN was accepted and nothing arrives: is there a pooler in between? listenUrl goes around it',
        )
      throw error
    }
    if (this.#session !== session) throw this.#lost ?? new Error('the connection was lost')
  }

  #hear(channel: string): void {
    if (channel === this.#privateChannel) this.#heard?.()
    else this.tell(channel)
  }

  #succeed(): void {
    this.#outage.ends()
    this.#reason = undefined
    if (this.#healthy) return
    this.#turn(true)
    this.#context.events.emit('listening', { channels: this.#subscribers.size })
    for (const channel of this.#subscribers.keys()) this.tell(channel)
  }

  #fail(error: unknown): void {
    this.#lost = undefined
    void this.#close()
    this.#poll(error)
  }

  // The loop's next step throws the error, so that it is the loop that pauses before the next try.
  #lose(session: Session, error: Error): void {
    if (this.#session !== session) return
    this.#session = undefined
    this.#lost = error
    this.#outage.begins(error)
    this.#poll(error)
    this.#loop.wake()
  }

  #poll(error: unknown): void {
    const { message } = summarise(error)
    const told = this.#reason !== undefined
    this.#reason = message
    this.#turn(false)
    if (!told) this.#context.events.emit('polling', { reason: message })
  }

  #turn(healthy: boolean): void {
    if (this.#healthy === healthy) return
    this.#healthy = healthy
    for (const watcher of [...this.#watchers]) watcher()
  }

  async #close(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await session?.close().catch(() => {})
  }

  async #listenTo(session: Session, channel: string, subscriber: () => void): Promise<void> {
    try {
      await run(session, listen(channel))
      if (this.#subscribers.get(channel)?.has(subscriber)) subscriber()
    } catch (error) {
      await session.close().catch(() => {})
      this.#lose(session, error as Error)
    }
  }

  #unsubscribe(channel: string, subscriber: () => void): void {
    const subscribers = this.#subscribers.get(channel)
    if (!subscribers?.delete(subscriber) || subscribers.size > 0) return
    this.#subscribers.delete(channel)
    if (this.#session) run(this.#session, unlisten(channel)).catch(() => {})
  }
}
