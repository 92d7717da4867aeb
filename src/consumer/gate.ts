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
  #told: Closing['source'] | undefined
  #held = false
  #releasedAt = Number.NEGATIVE_INFINITY
  #halfOpen = false
  #probing = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: GateOptions) {
    this.#options = options
  }

  get open(): boolean {
    return this.#closed === undefined && !this.#held && !this.#halfOpen
  }

  /** Whether what was claimed may be begun: also the one delivery that tries a half-open breaker. */
  get passable(): boolean {
    return (this.#closed === undefined || (this.#probing && this.#closed === 'breaker')) && !this.#held
  }

  /** The breaker's time has come, and nobody has yet found out whether what was broken is whole again. */
  get halfOpen(): boolean {
    return this.#closed === undefined && !this.#held && this.#halfOpen
  }

  /**
   * What the database says; undefined for a queue that is gone. What it was asked before a closing was written here is no news.
   */
  see(look: QueueLook | undefined, askedAt = Number.POSITIVE_INFINITY): void {
    if (this.#held && askedAt < this.#releasedAt) return
    const was = { held: this.#held, halfOpen: this.#halfOpen }
    this.#held = false
    this.#halfOpen = look?.halfOpen ?? false
    if (look === undefined) this.#close({ source: 'deletion', forMs: null, reason: 'the queue was deleted' })
    else if (look.closed === null) this.#openUp(was)
    else this.#close({ source: look.closed, forMs: look.closedMs, reason: look.reason })
  }

  /** A closing is being written here, and counts before the database tells of it. */
  hold(): void {
    this.#held = true
    this.#releasedAt = Number.POSITIVE_INFINITY
  }

  /** What a half-open breaker lets through is under way, or over. */
  probe(probing: boolean): void {
    this.#probing = probing
  }

  /** It was written, or not: the database is asked. */
  release(): void {
    this.#releasedAt = performance.now()
    this.#options.look()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #close({ source, forMs, reason }: Closing): void {
    const { queue, events } = this.#options
    clearTimeout(this.#timer)
    if (forMs !== null) this.#timer = setTimeout(this.#options.look, Math.min(Math.max(1, forMs), LONGEST_TIMER_MS))
    if (this.#told !== source) events.emit('paused', { queue, source, forMs, reason })
    this.#told = source
    this.#closed = source
  }

  #openUp(was: { readonly held: boolean; readonly halfOpen: boolean }): void {
    clearTimeout(this.#timer)
    const { queue, events, opened } = this.#options
    const wasClosed = this.#closed !== undefined
    this.#closed = undefined
    if (!this.#halfOpen && this.#told !== undefined) {
      this.#told = undefined
      events.emit('resumed', { queue })
    }
    if (wasClosed || was.held || was.halfOpen !== this.#halfOpen) opened()
  }
}

/** A closing as it is written down. */
export function pauseOf(queue: number, { source, forMs, reason }: Closing, by: string): Pause {
  if (source === 'deletion') throw new Error('a queue is not paused by its deletion')
  return { queue, source, forMs, reason, by }
}
