import { REPLY_TO } from './consumer/replying.ts'
import type { Context } from './context.ts'
import { RequestTimeout, Stopped } from './errors.ts'
import { Knock } from './machinery/knock.ts'
import type { Outbox } from './outbox.ts'
import { run } from './postgres/queryable.ts'
import { closeRequest, openRequest, repliesChannel, takeReplies } from './postgres/requests.ts'
import type { AnyRequestContract } from './rules/contract.ts'
import { summarise } from './rules/error-summary.ts'
import type { Message, PublishOptions } from './rules/message.ts'
import { milliseconds, parseOptions, passedThrough, shape } from './rules/options.ts'

/** How long a requester waits, and how the request is published. */
export interface RequestOptions {
  /** How long to wait for the reply, in milliseconds; a request that nobody has begun by then expires. @default 10_000 */
  readonly timeoutMs?: number
  /** Ends the waiting with the signal's reason. @default none */
  readonly signal?: AbortSignal
  /** How the request is published. `id`, `expiresInMs` and delays are not yours to say. @default {} */
  readonly publish?: Omit<PublishOptions, 'id' | 'expiresInMs' | 'delayMs' | 'deliverAt'>
}

const DEFAULTS = Object.freeze({ timeoutMs: 10_000 })

const OPTIONS = shape((z) =>
  z.strictObject({
    timeoutMs: milliseconds(1).default(DEFAULTS.timeoutMs),
    signal: passedThrough<AbortSignal | undefined>().optional(),
    publish: z
      .strictObject({
        headers: passedThrough<PublishOptions['headers']>().optional(),
        priority: passedThrough<number | undefined>().optional(),
        correlationId: passedThrough<string | undefined>().optional(),
        causationId: passedThrough<string | undefined>().optional(),
        key: passedThrough<string | undefined>().optional(),
        routingKey: passedThrough<string | undefined>().optional(),
        lockKey: passedThrough<boolean | undefined>().optional(),
      })
      .default({}),
  }),
)

const LOOK_AGAIN_MS = 1_000
const LOOK_AGAIN_WITHOUT_LISTEN_MS = 50

/**
 * Requests of this process that wait for their replies.
 *
 *     requester: insert into requests + publish, COMMIT       handler: its effects + reply into the requests row, COMMIT, notify
 *
 * The row is the promise that somebody waits: it is deleted with the reply, or when the time is over. One whose requester died
 * is forgotten by upkeep, and what comes after either finds no row: it is counted as late, and dropped.
 */
export class Requests {
  readonly #context: Context
  readonly #outbox: Pick<Outbox, 'publishIn'>
  readonly #waiting = new Map<string, PromiseWithResolvers<string>>()
  readonly #knock = new Knock()
  #watching: Promise<void> | undefined
  #unsubscribe: (() => void) | undefined

  constructor(context: Context, outbox: Pick<Outbox, 'publishIn'>) {
    this.#context = context
    this.#outbox = outbox
  }

  async request(contract: AnyRequestContract, payload: unknown, options: RequestOptions = {}): Promise<unknown> {
    const { timeoutMs, signal, publish } = parseOptions(OPTIONS, options)
    signal?.throwIfAborted()
    const { instance } = this.#context
    const headers = { ...publish.headers, [REPLY_TO]: instance }
    const message = contract.create(payload, { ...publish, headers, expiresInMs: timeoutMs })
    const answer = this.#answerTo(message.id)
    const abort = () => answer.reject(signal!.reason)
    const timer = setTimeout(() => answer.reject(new RequestTimeout(contract.name, timeoutMs)), timeoutMs)
    signal?.addEventListener('abort', abort)
    try {
      await this.#open(message, timeoutMs)
      this.#watch()
      return await contract.parseReply(JSON.parse(await answer.promise))
    } catch (error) {
      const late = await this.#close(message.id)
      if (error instanceof RequestTimeout && late !== undefined) return await contract.parseReply(JSON.parse(late))
      throw error
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      this.#waiting.delete(message.id)
    }
  }

  /** Nobody waits from here on. */
  async stop(): Promise<void> {
    for (const { reject } of this.#waiting.values()) reject(new Stopped('request'))
    this.#knock.knock()
    await this.#watching
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
  }

  #answerTo(id: string): PromiseWithResolvers<string> {
    const answer = Promise.withResolvers<string>()
    answer.promise.catch(() => {})
    this.#waiting.set(id, answer)
    return answer
  }

  async #open(message: Message, timeoutMs: number): Promise<void> {
    const { database, tables, instance } = this.#context
    const facts = { id: message.id, requester: instance, timeoutMs }
    await database.transaction(async (tx) => {
      const queryable = database.queryable(tx)
      await this.#outbox.publishIn(queryable, message)
      await run(queryable, openRequest(tables, facts))
    })
  }

  #watch(): void {
    const { listener, tables, instance } = this.#context
    this.#unsubscribe ??= listener.subscribe(repliesChannel(tables, instance), () => this.#knock.knock())
    this.#watching ??= this.#look().finally(() => (this.#watching = undefined))
  }

  async #look(): Promise<void> {
    const { listener } = this.#context
    while (this.#waiting.size > 0) {
      await this.#take().catch((error) => this.#report(error))
      if (this.#waiting.size > 0)
        await this.#knock.heard(listener.healthy ? LOOK_AGAIN_MS : LOOK_AGAIN_WITHOUT_LISTEN_MS)
    }
  }

  async #take(): Promise<void> {
    const { database, tables } = this.#context
    for (const { id, reply } of await run(database, takeReplies(tables, [...this.#waiting.keys()]))) {
      this.#waiting.get(id)?.resolve(reply)
      this.#waiting.delete(id)
    }
  }

  /** Ends the waiting in the database too; a reply that came at the last moment is the answer. */
  async #close(id: string): Promise<string | undefined> {
    const { database, tables } = this.#context
    try {
      const [closed] = await run(database, closeRequest(tables, id))
      return closed?.replied ? closed.reply! : undefined
    } catch (error) {
      this.#report(error)
      return undefined
    }
  }

  #report(error: unknown): void {
    this.#context.events.emit('error', { where: 'requests', error: summarise(error) })
  }
}
