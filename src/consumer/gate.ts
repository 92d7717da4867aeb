import type { EventBus } from '../events.ts'
import type { Pause, PauseSource, QueueLook } from '../postgres/flow.ts'

const LONGEST_TIMER_MS = 2 ** 31 - 1

export interface GateOptions {
  readonly queue: string
  readonly events: EventBus
  /** Somebody opened it. */
  readonly opened: () => void
  /** Its time has come: the database is to be asked again. */
  readonly look: () => void
}

/** Why and for how long nothing is claimed. */
export interface Closing {
  readonly source: PauseSource | 'deletion'
  /** Null: until somebody opens it. */
  readonly forMs: number | null
  readonly reason: string | null
}

/**
 * Whether a consumer may claim. The database says so, to all processes alike: at the start, whenever it notifies of a change,
 * and with every poll. What this process itself has just written counts before the database has told of it.
 */
export class Gate {
  readonly #options: GateOptions
  #closed: Closing['source'] | undefined
  #held = false
  #halfOpen = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: GateOptions) {
    this.#options = options
  }

  get open(): boolean {
    return this.passable && !this.#halfOpen
  }

  /** Whether what was claimed may be begun: also the one delivery that tries a half-open breaker. */
  get passable(): boolean {
    return this.#closed === undefined && !this.#held
  }

  /** The breaker's time has come, and nobody has yet found out whether what was broken is whole again. */
  get halfOpen(): boolean {
    return this.passable && this.#halfOpen
  }

  /** What the database says; undefined for a queue that is gone. */
  see(look: QueueLook | undefined): void {
    const wasHeld = this.#held
    this.#held = false
    this.#halfOpen = look?.halfOpen ?? false
    if (look === undefined) this.#close({ source: 'deletion', forMs: null, reason: 'the queue was deleted' })
    else if (look.closed === null) this.#openUp(wasHeld)
    else this.#close({ source: look.closed, forMs: look.closedMs, reason: look.reason })
  }

  /** A closing is being written here, and counts before the database tells of it. */
  hold(): void {
    this.#held = true
  }

  /** It was written, or not: the database is asked. */
  release(): void {
    this.#options.look()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #close({ source, forMs, reason }: Closing): void {
    const { queue, events } = this.#options
    clearTimeout(this.#timer)
    if (forMs !== null) this.#timer = setTimeout(this.#options.look, Math.min(Math.max(1, forMs), LONGEST_TIMER_MS))
    if (this.#closed !== source) events.emit('paused', { queue, source, forMs, reason })
    this.#closed = source
  }

  #openUp(wasHeld: boolean): void {
    clearTimeout(this.#timer)
    const { queue, events, opened } = this.#options
    const wasClosed = this.#closed !== undefined
    this.#closed = undefined
    if (this.#halfOpen) return
    if (wasClosed) events.emit('resumed', { queue })
    if (wasClosed || wasHeld) opened()
  }
}

/** A closing as it is written down. */
export function pauseOf(queue: number, { source, forMs, reason }: Closing, by: string): Pause {
  if (source === 'deletion') throw new Error('a queue is not paused by its deletion')
  return { queue, source, forMs, reason, by }
}
