import { ask } from '../ask.ts'
import type { ClaimLoop } from '../consumer/claim-loop.ts'
import { clearPayload, messageFactsOf, plainPayload } from '../consumer/facts.ts'
import type { Context } from '../context.ts'
import { KeyLost } from '../errors.ts'
import { abortable } from '../machinery/abortable.ts'
import { Backoff } from '../machinery/backoff.ts'
import { Knock } from '../machinery/knock.ts'
import { Outage } from '../postgres/outage.ts'
import { type ReaderPlace, type ReadRow, readerAt, readOn } from '../postgres/readers.ts'
import { type StreamRow, WHOLE } from '../postgres/streams.ts'
import { numberOf } from '../queue-number.ts'
import type { MessageFacts } from '../rules/delivery.ts'
import { isTransient } from '../rules/error-summary.ts'
import { isWanted, MESSAGE_FILTER, type MessageFilter } from '../rules/message-filter.ts'
import { parseOptions, passedThrough, shape } from '../rules/options.ts'
import { isOutage } from './exactly-once.ts'
import { type From, placeOf } from './groups.ts'

/** Which messages, and for how long. */
export interface ReadOptions extends MessageFilter {
  /**
   * Where it begins: with the oldest message of the log, with what is committed from now on, with what was published at a time or later,
   * or with a message, by its id. @default 'latest'
   */
  readonly from?: From | undefined
  /** Ends the reading, in order. @default never */
  readonly signal?: AbortSignal | undefined
  /** Waits for what comes; false: ends when everything is read that was there. @default true */
  readonly follow?: boolean | undefined
}

const OPTIONS = shape((z) =>
  z.strictObject({
    from: z.union([z.enum(['earliest', 'latest']), z.date(), z.guid()]).default('latest'),
    signal: passedThrough<AbortSignal | undefined>().optional(),
    follow: z.boolean().default(true),
    ...MESSAGE_FILTER().shape,
  }),
)

/** Rows of the log that one look takes: few at first, so that large messages are noticed, then more. */
const FIRST_ROWS = 100
const MOST_ROWS = 5_000
/** What a look brings is held in memory, and is no more than this but for a single message that is. */
const MOST_BYTES = 2 * 2 ** 20
const POLL_MS = 5_000
const POLL_WITHOUT_LISTEN_MS = 250
const RETRY = { minMs: 50, maxMs: 2_000 }

export interface ReadPlaceOf {
  readonly context: Context
  readonly claims: ClaimLoop
  /** Null: the whole log. */
  readonly stream: string | null
  /** How often it looks by itself, in milliseconds. @default 5000, and 250 while nothing tells it of messages */
  readonly pollMs?: number
}

/**
 * Reads a stream, or the whole log, without a group: nothing is written down, and nobody is kept from anything. What the reader holds
 * in memory is one look and the next, however far it is behind. It survives the loss of its connection, and goes on where it was.
 */
export async function* readLog(
  of: ReadPlaceOf,
  given: ReadOptions = {},
): AsyncGenerator<MessageFacts, void, undefined> {
  const { from, signal, follow, ...filter } = parseOptions(OPTIONS, given)
  const over = new AbortController()
  const end = () => over.abort()
  if (signal?.aborted) return
  signal?.addEventListener('abort', end, { once: true })
  const reader = new Reader(of, over.signal)
  try {
    await reader.begin(from, follow)
    for (let rows = await reader.next(); rows !== undefined; rows = await reader.next()) {
      reader.prepare()
      for (const row of rows) {
        if (over.signal.aborted) return
        const message = messageFactsOf(row, readable(row, of.context.keys))
        if (isWanted(message, filter)) yield message
      }
    }
  } catch (error) {
    if (!over.signal.aborted) throw error
  } finally {
    // a look that is under way is for nobody
    over.abort()
    reader.end()
    signal?.removeEventListener('abort', end)
  }
}

class Reader {
  readonly #of: ReadPlaceOf
  readonly #signal: AbortSignal
  readonly #knock = new Knock()
  readonly #outage: Outage
  readonly #backoff = new Backoff(RETRY)
  #queue: number | null = null
  #since: Date | null = null
  #place!: ReaderPlace
  #until: string | undefined
  #rests = false
  #done = false
  #limit = FIRST_ROWS
  #ahead: Promise<readonly StreamRow[] | undefined> | undefined
  #leave: (() => void)[] = []

  constructor(of: ReadPlaceOf, signal: AbortSignal) {
    this.#of = of
    this.#signal = signal
    this.#outage = new Outage(of.context.events, 'reader')
  }

  async begin(from: From, follow: boolean): Promise<void> {
    const { context, claims, stream } = this.#of
    this.#queue = stream === null ? null : await this.#insist(() => numberOf(context, stream))
    const { at, since } = await this.#insist(() => placeOf(context, from))
    // what was published before and is committed from now on comes too
    this.#since = from === 'latest' ? null : since
    const [place] = await this.#insist(() => ask(context, readerAt(context.tables, at)))
    this.#place = place!
    if (!follow) this.#until = (await this.#insist(() => placeOf(context, 'latest'))).at.tick
    const wake = () => this.#knock.knock()
    if (follow && this.#queue !== null) this.#leave.push(claims.enlist(this.#queue, { wake }))
    this.#leave.push(context.listener.onChange(wake))
  }

  /** Begins the next look, so that the server is at it while what came is gone through. */
  prepare(): void {
    this.#ahead = this.#next()
    // told of by whoever asks for it
    this.#ahead.catch(() => {})
  }

  /** What one look brings, which may be nothing; undefined at the end. */
  async next(): Promise<readonly StreamRow[] | undefined> {
    const ahead = this.#ahead ?? this.#next()
    this.#ahead = undefined
    return await ahead
  }

  async #next(): Promise<readonly StreamRow[] | undefined> {
    if (this.#signal.aborted || this.#done) return undefined
    if (this.#rests) await this.#knock.heard(this.#pollMs, this.#signal)
    if (this.#signal.aborted) return undefined
    const { rows, place } = await this.#look()
    this.#rests = place.b === this.#place.b && place.id === this.#place.id
    this.#place = place
    this.#done = this.#until !== undefined && (this.#rests || hasDone(place, this.#until))
    return rows
  }

  end(): void {
    for (const leave of this.#leave.splice(0)) leave()
  }

  get #pollMs(): number {
    if (this.#of.pollMs !== undefined) return this.#of.pollMs
    return this.#of.context.listener.healthy && this.#queue !== null ? POLL_MS : POLL_WITHOUT_LISTEN_MS
  }

  async #look(): Promise<{ rows: StreamRow[]; place: ReaderPlace }> {
    const { context } = this.#of
    const [queue, place, since, limit] = [this.#queue, this.#place, this.#since, this.#limit]
    const query = readOn(context.tables, { queue, place, since, limit, bytes: MOST_BYTES })
    const found: ReadRow[] = await this.#insist(() => ask(context, query))
    this.#limit = Math.min(MOST_ROWS, limit * 2)
    const last = found.pop()! as { place: ReaderPlace }
    return { rows: found.map((each) => (each as { row: StreamRow }).row), place: last.place }
  }

  /** Asks until somebody answers; what the server refuses is thrown. */
  async #insist<Answer>(question: () => Promise<Answer>): Promise<Answer> {
    for (;;) {
      try {
        const answer = await abortable(question(), this.#signal)
        this.#backoff.reset()
        this.#outage.ends()
        return answer
      } catch (error) {
        if (this.#signal.aborted || !(isOutage(error) || isTransient(error))) throw error
        this.#outage.begins(error)
        await new Knock().heard(this.#backoff.next(), this.#signal)
      }
    }
  }
}

// What no key of this process opens is read as it is stored.
function readable(row: StreamRow, keys: Context['keys']): unknown {
  if (keys === undefined) return plainPayload(row)
  try {
    return clearPayload(row, keys)
  } catch (error) {
    if (error instanceof KeyLost) return plainPayload(row)
    throw error
  }
}

// A tick in text begins with its number.
function hasDone({ b, id }: ReaderPlace, tick: string): boolean {
  return id === WHOLE && BigInt(b.slice(1, b.indexOf(','))) >= BigInt(tick)
}
