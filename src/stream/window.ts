import type { Context } from '../context.ts'
import { run } from '../postgres/queryable.ts'
import { type Chunk, chunkOf, type ReadFrom, readStream, samePosition, WHOLE } from '../postgres/streams.ts'
import { sizeOf } from './cohort.ts'

/** What is kept for those who have not come to it yet. */
const MOST_BYTES = 8 * 2 ** 20
/** For so long: what was read longer ago may have been erased, or its ticks forgotten. */
const FRESH_MS = 5_000
/** Beside what a message carries. */
const ROW_BYTES = 500

/** A look at the log, and when it was begun: it knows nothing of what was committed later. */
export interface Look extends Chunk {
  readonly askedAt: number
}

interface Shared {
  readonly queue: number
  readonly at: number
  readonly look: Promise<Look>
  takers: number
  bytes: number
}

/**
 * What the groups of a process read of a stream, read once: a look is kept until each of them has taken it, seconds at most, and who begins where another
 * one began gets what that one got. They come to the same places because whoever is behind reads up to where the foremost has
 * come, and no further.
 */
export class LogWindow {
  readonly #context: Context
  readonly #readers = new Map<number, number>()
  readonly #foremost = new Map<number, { readonly tick: string; readonly at: number }>()
  readonly #kept = new Map<string, Shared>()

  constructor(context: Context) {
    this.#context = context
  }

  /** A group reads the stream from now on; what it returns ends that. */
  enlist(queue: number): () => void {
    this.#readers.set(queue, this.readersOf(queue) + 1)
    return () => {
      this.#readers.set(queue, this.readersOf(queue) - 1)
      for (const [key, kept] of this.#kept) if (kept.queue === queue) this.#kept.delete(key)
    }
  }

  /** How many groups of the process read the stream. */
  readersOf(queue: number): number {
    return this.#readers.get(queue) ?? 0
  }

  /** Whether several do. */
  shares(queue: number): boolean {
    return this.readersOf(queue) > 1
  }

  async look(from: ReadFrom): Promise<Look> {
    if (from.until || !this.shares(from.queue)) return await this.#ask(from)
    const { since } = from
    const { askedAt, rows, end } = await this.#shared(from)
    return { askedAt, rows: since ? rows.filter(({ body }) => body!.publishedAt >= since) : rows, end }
  }

  async #shared(from: ReadFrom): Promise<Look> {
    const key = keyOf(from)
    const kept = this.#kept.get(key)
    if (kept && isFresh(kept)) return await this.#take(key, kept)
    const { queue } = from
    const look = this.#ask({ ...from, since: null, until: this.#meeting(from) })
    const shared: Shared = { queue, look, at: performance.now(), takers: 0, bytes: 0 }
    this.#kept.delete(key)
    this.#kept.set(key, shared)
    look.then(
      (came) => this.#came(key, shared, from, came),
      () => this.#forget(key, shared),
    )
    return await this.#take(key, shared)
  }

  async #take(key: string, shared: Shared): Promise<Look> {
    shared.takers += 1
    const look = await shared.look
    if (shared.takers >= this.readersOf(shared.queue)) this.#forget(key, shared)
    return look
  }

  #came(key: string, shared: Shared, { queue, from }: ReadFrom, { rows, end }: Look): void {
    if (samePosition(from, end)) {
      this.#forget(key, shared)
      return
    }
    if (end.id === WHOLE && this.#isBeyond(queue, end.tick))
      this.#foremost.set(queue, { tick: end.tick, at: shared.at })
    shared.bytes = sizeOf(rows) + rows.length * ROW_BYTES
    let bytes = 0
    for (const kept of this.#kept.values()) bytes += kept.bytes
    for (const [oldest, kept] of this.#kept) {
      if (bytes <= MOST_BYTES && isFresh(kept)) break
      bytes -= kept.bytes
      this.#kept.delete(oldest)
    }
  }

  #forget(key: string, shared: Shared): void {
    if (this.#kept.get(key) === shared) this.#kept.delete(key)
  }

  #isBeyond(queue: number, tick: string): boolean {
    const foremost = this.#foremost.get(queue)
    return !foremost || !isFresh(foremost) || BigInt(tick) > BigInt(foremost.tick)
  }

  #meeting({ queue, from }: ReadFrom): ReadFrom['until'] {
    const foremost = this.#foremost.get(queue)
    if (!foremost || !isFresh(foremost) || BigInt(foremost.tick) <= BigInt(from.tick)) return undefined
    return { tick: foremost.tick }
  }

  async #ask(from: ReadFrom): Promise<Look> {
    const { database, tables } = this.#context
    const askedAt = performance.now()
    return { askedAt, ...chunkOf(await run(database, readStream(tables, from))) }
  }
}

function isFresh({ at }: { readonly at: number }): boolean {
  return performance.now() - at < FRESH_MS
}

function keyOf({ queue, lanes, from: { base, tick, id } }: ReadFrom): string {
  return id === WHOLE ? `${queue} ${lanes} ${tick}` : `${queue} ${lanes} ${base} ${tick} ${id}`
}

const windows = new WeakMap<object, LogWindow>()

/** The one window of a Posthaste. */
export function windowOf(context: Context): LogWindow {
  const window = windows.get(context.events) ?? new LogWindow(context)
  windows.set(context.events, window)
  return window
}
