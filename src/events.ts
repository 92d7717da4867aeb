import { EventTimeout } from './errors.ts'
import { type ErrorSummary, summarise } from './rules/error-summary.ts'
import { refuseUnknown } from './rules/options.ts'

/**
 * Everything the machinery says, and the one way it says it: logs, metrics, dashboard and tests subscribe to it.
 * No event carries a payload, a header or a key; errors come as summaries.
 */
export interface Events {
  /** Messages were handed to the caller's transaction; whether it commits is not known here. */
  published: { readonly messages: number; readonly duplicates: number }
  /** Committed messages became deliveries. */
  routed: { readonly messages: number; readonly deliveries: number; readonly queues: number }
  /** Delayed or retried deliveries became due. */
  promoted: { readonly deliveries: number }

  /** Messages of a schedule were published: one per tick. */
  ticked: { readonly schedule: string; readonly messages: number }

  /** A handler replied to a request that nobody waits for any more. */
  'reply-late': { readonly queue: string; readonly messageId: string }

  'attempt-started': Attempted
  /** `duplicate`: the inbox knew it already, the handler was not called. */
  completed: Attempted & { readonly durationMs: number; readonly duplicate: boolean }
  /** `error` is undefined when the handler asked for it. */
  retried: Attempted & { readonly delayMs: number; readonly error: ErrorSummary | undefined }
  'dead-lettered': Attempted & { readonly reason: string; readonly error: ErrorSummary | undefined }
  discarded: Attempted & { readonly reason: string }
  expired: { readonly queue: string; readonly messageId: string; readonly group?: string }
  /** Its version is newer than the contract of this consumer: it went back for others, uncharged. */
  left: Attempted & { readonly version: number; readonly delayMs: number }
  /** An attempt was rolled back without its fault, and runs again without having used an attempt. */
  'attempt-repeated': Attempted & { readonly error: ErrorSummary }
  /** A process ended while it held this delivery. */
  'crash-counted': { readonly queue: string; readonly messageId: string; readonly crashes: number }
  /** Nothing of the queue is claimed, for a time or, when `forMs` is null, until it is resumed. Told by every process that consumes it. */
  paused: {
    readonly queue: string
    readonly source: string
    readonly forMs: number | null
    readonly reason: string | null
  }
  resumed: { readonly queue: string }
  /** A message of a stream failed, and is put aside with what waits for it: its key, its lane, or nothing. */
  parked: {
    readonly queue: string
    readonly group: string
    readonly key: string
    readonly scope: 'key' | 'message' | 'lane'
    readonly messageId: string
  }
  /** A message came for a parked key, and waits behind it. */
  'parked-behind': { readonly queue: string; readonly group: string; readonly key: string; readonly messageId: string }
  /** Retention deleted messages that this group had not read, as the stream's `onLag: 'cut-off'` says: they are lost to it. */
  'group-cut-off': { readonly queue: string; readonly group: string; readonly messages: number }
  /** The log is kept longer than its retention because this group has not read it (`onLag: 'hold'`). Told with every round of upkeep. */
  'group-lagging': { readonly queue: string; readonly group: string; readonly messages: number }
  /** This process wrote the position of its lanes too late: they are another's, and what it did is done again. */
  'lanes-lost': { readonly queue: string; readonly group: string; readonly messages: number; readonly position: string }
  /** The breaker of the queue was half-open, and this process tried one delivery. */
  'breaker-probed': { readonly queue: string; readonly passed: boolean }
  redriven: { readonly queue: string; readonly deliveries: number }
  purged: { readonly queue: string; readonly deliveries: number }
  'batch-size-changed': { readonly queue: string; readonly from: number; readonly to: number }

  leased: { readonly queue: string; readonly lease: string; readonly deliveries: number }
  /** This process settled too late: nothing was settled. */
  'lease-lost': { readonly queue: string; readonly lease: string; readonly deliveries: number }
  /** The relay took back what lapsed leases had not settled. */
  'lease-lapsed': { readonly returned: number; readonly dead: number }

  'relay-on-duty': { readonly instance: string }
  'relay-stood-by': { readonly instance: string }
  listening: { readonly channels: number }
  /** Notifications do not arrive; the machinery polls until they do. */
  polling: { readonly reason: string }
  'connection-lost': { readonly purpose: string; readonly error: ErrorSummary }
  'connection-restored': { readonly purpose: string; readonly lostForMs: number }

  /** A provider was called or asked, and this is what came of it; `durationMs` is undefined for an answer that came too late. */
  'effect-answered': {
    readonly operation: string
    readonly asked: boolean
    readonly outcome: string
    readonly reason: string | undefined
    readonly durationMs: number | undefined
  }
  /** The outcome and what the business wrote are in one transaction; whether it commits is not known here. */
  'effect-recorded': { readonly operation: string }
  /** Nobody can say whether it happened, and nothing may be repeated: a person has to. */
  'effect-needs-review': { readonly operation: string; readonly reason: string }
  /** An operation was done twice, or done after it was recorded as failed. */
  'effect-contradicted': { readonly operation: string }
  'effect-resolved': { readonly operation: string; readonly as: string; readonly by: string }

  upkeep: { readonly step: string; readonly durationMs: number; readonly done: boolean }

  'consumer-started': {
    readonly queue: string
    readonly group?: string
    readonly guarantee: string
    readonly concurrency: number
  }
  'consumer-stopped': { readonly queue: string; readonly group?: string; readonly unfinished: number }

  warning: { readonly code: string; readonly message: string }
  error: { readonly where: string; readonly error: ErrorSummary }
}

/** Which attempt of which delivery an event tells of. */
export interface Attempted {
  readonly queue: string
  /** Of a stream: the group that reads. */
  readonly group?: string
  readonly messageId: string
  readonly type: string
  readonly attempt: number
}

/** The name of an event, as `posthaste.on` takes it. */
export type EventName = keyof Events
/** May be async; nobody waits for it. */
export type Listener<Name extends EventName> = (event: Events[Name]) => unknown
export type AnyListener = <Name extends EventName>(name: Name, event: Events[Name]) => unknown

/** How long `until` waits. */
export interface UntilOptions {
  /** How long to wait, in milliseconds, before an `EventTimeout`. @default 10_000 */
  readonly timeoutMs?: number
}

/** Tells listeners what happens. A listener that throws harms nobody: it is reported once as a `warning`, and stays subscribed. */
export class EventBus {
  readonly #listeners = new Map<EventName, Set<(event: never) => unknown>>()
  readonly #all = new Set<AnyListener>()
  readonly #faulty = new WeakSet<object>()

  /** Subscribes; the answer unsubscribes. */
  on<Name extends EventName>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners)
    listeners.add(listener)
    return () => this.off(name, listener)
  }

  once<Name extends EventName>(name: Name, listener: Listener<Name>): () => void {
    const off = this.on(name, (event) => {
      off()
      return listener(event)
    })
    return off
  }

  off<Name extends EventName>(name: Name, listener: Listener<Name>): void {
    this.#listeners.get(name)?.delete(listener)
  }

  /** Subscribes to every event, with its name. */
  onAny(listener: AnyListener): () => void {
    this.#all.add(listener)
    return () => this.#all.delete(listener)
  }

  emit<Name extends EventName>(name: Name, event: Events[Name]): void {
    const listeners = this.#listeners.get(name) as Set<Listener<Name>> | undefined
    if (listeners?.size) for (const listener of [...listeners]) this.#tell(listener, () => listener(event))
    if (this.#all.size) for (const listener of [...this.#all]) this.#tell(listener, () => listener(name, event))
  }

  /** Is anybody listening? An event that is costly to make need not be made for nobody. */
  heard(name: EventName): boolean {
    return this.#all.size > 0 || (this.#listeners.get(name)?.size ?? 0) > 0
  }

  /**
   * The next event of this name that the predicate accepts. It must be asked for before the event can come.
   *
   * ```ts
   * const dead = posthaste.until('dead-lettered', (event) => event.queue === 'billing')
   * ```
   */
  until<Name extends EventName>(
    name: Name,
    predicate: (event: Events[Name]) => boolean = () => true,
    options: UntilOptions = {},
  ): Promise<Events[Name]> {
    refuseUnknown(options, ['timeoutMs'])
    const { timeoutMs = 10_000 } = options
    const { promise, resolve, reject } = Promise.withResolvers<Events[Name]>()
    const off = this.on(name, (event) => {
      try {
        if (predicate(event)) resolve(event)
      } catch (error) {
        reject(error)
      }
    })
    const timer = setTimeout(() => reject(new EventTimeout(name, timeoutMs)), timeoutMs)
    return promise.finally(() => {
      clearTimeout(timer)
      off()
    })
  }

  #tell(listener: object, call: () => unknown): void {
    try {
      const answer = call()
      if (answer instanceof Promise) answer.catch((error) => this.#report(listener, error))
    } catch (error) {
      this.#report(listener, error)
    }
  }

  #report(listener: object, error: unknown): void {
    if (this.#faulty.has(listener)) return
    this.#faulty.add(listener)
    this.emit('warning', { code: 'LISTENER_FAILED', message: `A listener threw: ${summarise(error).message}` })
  }
}

/** Anything shaped as pino's logger is; `console` is not, but `{ info: (fields, message) => console.log(message, fields), … }` is. */
export interface Logger {
  /** What goes well. */
  debug(fields: object, message: string): void
  /** What happens rarely. */
  info(fields: object, message: string): void
  /** What needs eyes. */
  warn(fields: object, message: string): void
  /** What went wrong. */
  error(fields: object, message: string): void
}

const LEVELS: { readonly [Name in EventName]?: keyof Logger } = {
  'attempt-repeated': 'info',
  'batch-size-changed': 'debug',
  retried: 'info',
  paused: 'warn',
  resumed: 'info',
  'reply-late': 'info',
  'breaker-probed': 'info',
  parked: 'warn',
  'group-cut-off': 'error',
  'group-lagging': 'warn',
  'lanes-lost': 'warn',
  redriven: 'info',
  purged: 'info',
  'dead-lettered': 'warn',
  'crash-counted': 'warn',
  'lease-lost': 'warn',
  'lease-lapsed': 'warn',
  'relay-on-duty': 'info',
  'relay-stood-by': 'info',
  listening: 'info',
  polling: 'warn',
  'connection-lost': 'warn',
  'connection-restored': 'info',
  'consumer-started': 'info',
  'consumer-stopped': 'info',
  'effect-recorded': 'info',
  'effect-needs-review': 'warn',
  'effect-contradicted': 'error',
  'effect-resolved': 'info',
  warning: 'warn',
  error: 'error',
}

/** Writes every event to a logger, as `{ event, …its facts }` and the event's name: what goes well at debug, what needs eyes at warn. */
export function logTo(logger: Logger): AnyListener {
  return (name, event) => logger[LEVELS[name] ?? 'debug']({ event: name, ...event }, `posthaste ${name}`)
}
