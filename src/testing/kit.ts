import { AssertionError } from 'node:assert'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '../context.ts'
import type { Events } from '../events.ts'
import { type LoggedMessage, loggedMessages } from '../postgres/published.ts'
import { type Queryable, run } from '../postgres/queryable.ts'
import { nextDue } from '../postgres/test-time.ts'
import { insidesOf, type Posthaste } from '../posthaste.ts'
import { Errand } from '../relay/errand.ts'
import type { AnyContract, PayloadOf } from '../rules/contract.ts'
import { decrypted } from '../rules/encryption.ts'
import type { ErrorSummary } from '../rules/error-summary.ts'
import type { Message, RawMessage } from '../rules/message.ts'
import { prepare } from '../rules/message.ts'
import { type AnyTransaction, recognise } from '../transaction-handle.ts'
import { DatabaseClock } from './clock.ts'
import { fits, type Part } from './matching.ts'

/** A message that was published, with its payload as handlers of its contract get it. */
export interface PublishedMessage<Payload = unknown> extends Omit<LoggedMessage, 'payload'> {
  readonly payload: Payload
}

/** With whose eyes to look. */
export interface PublishedOptions {
  /** Looks with the eyes of this transaction, which sees what it has published itself. @default what is committed */
  readonly tx?: AnyTransaction
}

/** How many messages are expected, in whose eyes, and what they have beside their payload. */
export interface ExpectPublishedOptions extends PublishedOptions {
  /** How many must match. @default at least one */
  readonly count?: number
  /** What the message must have beside its payload: `{ key: '42', headers: { tenant: 'acme' } }`. @default anything */
  readonly message?: Part<Omit<LoggedMessage, 'payload'>>
}

/** How far a drain goes, and what it makes of failures. */
export interface DrainOptions {
  /** Goes on to what is due later (delays, retries), by moving the clock from one to the next. @default false */
  readonly scheduled?: boolean
  /** Throws when an attempt failed or a delivery became a dead letter, with their errors. @default false */
  readonly strict?: boolean
  /** How long it may take, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number
}

/** An attempt that did not end well. */
export interface FailedAttempt {
  readonly queue: string
  readonly messageId: string
  readonly type: string
  readonly attempt: number
  readonly error: ErrorSummary | undefined
}

/** What became of deliveries while a queue was drained. */
export interface Drained {
  readonly completed: number
  /** Deliveries that the inbox knew already. */
  readonly duplicates: number
  readonly retried: number
  readonly deadLettered: number
  readonly discarded: number
  readonly expired: number
  /** The attempts behind `retried` and `deadLettered`. */
  readonly failures: readonly FailedAttempt[]
}

/** What the relay did. */
export interface Moved {
  readonly routed: number
  readonly promoted: number
}

/** What became of one message in one queue. */
export type Delivered =
  | { readonly outcome: 'completed'; readonly duplicate: boolean }
  | { readonly outcome: 'retried'; readonly delayMs: number; readonly error: ErrorSummary | undefined }
  | { readonly outcome: 'dead-lettered'; readonly reason: string; readonly error: ErrorSummary | undefined }
  | { readonly outcome: 'discarded'; readonly reason: string }
  | { readonly outcome: 'expired' }

/** What is asked of a Posthaste in a test; its functions may be taken apart. */
export interface TestKit<QueueName extends string = string> {
  /**
   * Routes what was published and lets the consumers of this Posthaste work until there is nothing left to do for them. With
   * one that was not started it needs no relay and no waiting, and when it answers nothing runs any more; with one that runs
   * it waits until that has come to rest.
   */
  drain(options?: DrainOptions): Promise<Drained>
  readonly relay: {
    /** Routes everything that is committed, makes ready what is due, and takes back lapsed leases, once. */
    runOnce(): Promise<Moved>
  }
  /** What was published, oldest first: all of it, or all of a contract. */
  published(): Promise<PublishedMessage[]>
  /** What was published of a contract, oldest first, with payloads as its handlers get them. */
  published<C extends AnyContract>(contract: C, options?: PublishedOptions): Promise<PublishedMessage<PayloadOf<C>>[]>
  /**
   * Asserts that a message of this contract was published whose payload has what the matcher says, and returns the first one.
   * Without `tx` it sees what is committed and nothing else.
   */
  expectPublished<C extends AnyContract>(
    contract: C,
    matcher?: Matcher<PayloadOf<C>>,
    options?: ExpectPublishedOptions,
  ): Promise<PublishedMessage<PayloadOf<C>>>
  /** Asserts that there is none. */
  expectNotPublished<C extends AnyContract>(
    contract: C,
    matcher?: Matcher<PayloadOf<C>>,
    options?: Omit<ExpectPublishedOptions, 'count'>,
  ): Promise<void>
  /** Gives a message to the consumer of a queue, whatever its bindings are, and tells what became of it. */
  deliver(queue: QueueName, message: Message | RawMessage): Promise<Delivered>
  /** The clock of the database, when `createTestDatabase` made it. */
  readonly clock: DatabaseClock
}

/** A part of the payload, or a function that says whether a message is meant. */
export type Matcher<Payload> = Part<Payload> | ((payload: Payload) => boolean)

/**
 * What tests ask of a Posthaste: that this was published, that everything is worked off, that time has passed.
 *
 * ```ts
 * const { drain, expectPublished } = testKit(posthaste)
 *
 * await placeOrder({ orderId: '42' })
 * await expectPublished(OrderPlaced, { orderId: '42' })
 * await drain({ strict: true })
 * ```
 */
export function testKit<Tx, QueueName extends string>(posthaste: Posthaste<Tx, QueueName>): TestKit<QueueName> {
  const kit = new Kit(posthaste as Posthaste<Tx>)
  return {
    drain: (options) => kit.drain(options),
    relay: { runOnce: () => kit.runOnce() },
    published: ((contract?: AnyContract, options?: PublishedOptions) =>
      kit.published(contract, options)) as TestKit<QueueName>['published'],
    expectPublished: ((contract: AnyContract, matcher?: Matcher<unknown>, options?: ExpectPublishedOptions) =>
      kit.expectPublished(contract, matcher, options)) as TestKit<QueueName>['expectPublished'],
    expectNotPublished: (contract, matcher, options) =>
      kit.expectNotPublished(contract, matcher as Matcher<unknown>, options),
    deliver: (queue, message) => kit.deliver(queue, message),
    clock: kit.clock,
  }
}

const TIMEOUT_MS = 30_000
const AT_MOST = 1_000_000
const MOST_LEAPS = 10_000
const LOOK_AGAIN_MS = 10

class Kit<Tx> {
  readonly clock: DatabaseClock
  readonly #posthaste: Posthaste<Tx>
  readonly #context: Context<Tx>
  readonly #errand: Errand

  constructor(posthaste: Posthaste<Tx>) {
    const { context, retention } = insidesOf(posthaste)
    this.#posthaste = posthaste
    this.#context = context
    this.#errand = new Errand(context as Context, retention)
    this.clock = new DatabaseClock(context.database, context.tables)
  }

  async runOnce(): Promise<Moved> {
    const moved = { routed: 0, promoted: 0 }
    const off = [
      this.#posthaste.on('routed', ({ messages }) => (moved.routed += messages)),
      this.#posthaste.on('promoted', ({ deliveries }) => (moved.promoted += deliveries)),
    ]
    try {
      while (await this.#errand.move());
      return moved
    } finally {
      for (const end of off) end()
    }
  }

  async drain({ scheduled = false, strict = false, timeoutMs = TIMEOUT_MS }: DrainOptions = {}): Promise<Drained> {
    const deadline = performance.now() + timeoutMs
    const count = new Count(this.#posthaste)
    try {
      await this.#posthaste.declare()
      for (let leaps = 0; ; leaps += 1) {
        await this.#workOff(deadline)
        if (!scheduled || leaps === MOST_LEAPS || !(await this.#leap())) break
      }
    } finally {
      count.end()
    }
    const { drained } = count
    if (strict && drained.failures.length > 0) throw failed(drained)
    return drained
  }

  async published(contract?: AnyContract, { tx }: PublishedOptions = {}): Promise<PublishedMessage[]> {
    const { database, tables } = this.#context
    const from: Queryable = tx === undefined ? database : (await recognise(tx)).queryable
    const logged = await run(from, loggedMessages(tables, contract?.name ?? null))
    if (!contract) return logged
    return await Promise.all(
      logged.map(async (message) => {
        const clear = await decrypted(this.#context.keys, message.type, message.payload)
        return { ...message, payload: await contract.parse(clear, message.version) }
      }),
    )
  }

  async expectPublished(
    contract: AnyContract,
    matcher: Matcher<unknown> = {},
    { count, message = {}, tx }: ExpectPublishedOptions = {},
  ): Promise<PublishedMessage> {
    const all = await this.published(contract, tx === undefined ? {} : { tx })
    const found = all.filter((each) => isMeant(each, matcher, message))
    const right = count === undefined ? found.length > 0 : found.length === count
    if (right) return found[0]!
    const wanted = count === undefined ? 'one' : `${count}`
    throw new AssertionError({
      message: `Expected ${wanted} published "${contract.name}" ${described(matcher, message)}: ${found.length} of ${all.length} match`,
      actual: all.map(shown),
      expected: [typeof matcher === 'function' ? `payload that fits ${matcher}` : { payload: matcher, ...message }],
      operator: 'expectPublished',
    })
  }

  async expectNotPublished(
    contract: AnyContract,
    matcher: Matcher<unknown> = {},
    { message = {}, tx }: Omit<ExpectPublishedOptions, 'count'> = {},
  ): Promise<void> {
    const all = await this.published(contract, tx === undefined ? {} : { tx })
    const found = all.filter((each) => isMeant(each, matcher, message))
    if (found.length === 0) return
    throw new AssertionError({
      message: `Expected no published "${contract.name}" ${described(matcher, message)}: ${found.length} of ${all.length} match`,
      actual: found.map(shown),
      expected: [],
      operator: 'expectNotPublished',
    })
  }

  async deliver(queue: string, given: Message | RawMessage): Promise<Delivered> {
    if (!insidesOf(this.#posthaste).consumers.some((consumer) => consumer.queue === queue)) {
      throw new AssertionError({ message: `Cannot deliver to "${queue}": this Posthaste has no consumer of it` })
    }
    await this.#posthaste.declare()
    const { contract: _, ownId: __, ...facts } = prepare(given)
    const message = { ...facts, exchange: '', routingKey: queue } as RawMessage
    const became = this.#outcomeOf(queue, facts.id)
    try {
      await this.#context.database.transaction((tx) => this.#posthaste.publish(tx as AnyTransaction, message))
      await this.#workOff(performance.now() + TIMEOUT_MS)
    } catch (error) {
      became.end()
      throw error
    }
    return await became.outcome.finally(() => became.end())
  }

  async #workOff(deadline: number): Promise<void> {
    const { running, consumers } = insidesOf(this.#posthaste)
    if (running) return await this.#comeToRest(deadline)
    for (let claimed = 1; claimed > 0; ) {
      claimed = 0
      for (const consumer of consumers) {
        const deadlineMs = Math.max(1, deadline - performance.now())
        const drained = await consumer.drain({ maxMessages: AT_MOST, deadlineMs, move: () => this.#errand.move() })
        if (drained.ended === 'deadline') throw late('drain')
        claimed += drained.claimed
      }
      if (consumers.length === 0 || claimed === 0) claimed = (await this.#errand.move()) ? 1 : 0
    }
  }

  // What a transaction of a consumer has claimed is still ready for everybody else, until it commits.
  async #comeToRest(deadline: number): Promise<void> {
    const mine = new Set(insidesOf(this.#posthaste).consumers.map(({ queue }) => queue))
    for (;;) {
      const moved = await this.#errand.move()
      const { queues, exchanges } = await this.#posthaste.audit()
      const busy = queues.some(({ queue, ready, leased }) => mine.has(queue) && ready + leased > 0)
      if (!moved && !busy && exchanges.every(({ unrouted }) => unrouted === 0)) return
      if (performance.now() > deadline) throw late('drain')
      await sleep(LOOK_AGAIN_MS)
    }
  }

  async #leap(): Promise<boolean> {
    const queues = insidesOf(this.#posthaste).consumers.map(({ queue }) => queue)
    const [due] = await run(this.#context.database, nextDue(this.#context.tables, queues))
    if (!due) return false
    if (due.getTime() > (await this.clock.now()).getTime()) await this.clock.travelTo(due)
    return true
  }

  #outcomeOf(queue: string, id: string): { readonly outcome: Promise<Delivered>; end(): void } {
    const { promise, resolve } = Promise.withResolvers<Delivered>()
    const on = <Name extends 'completed' | 'retried' | 'dead-lettered' | 'discarded' | 'expired'>(
      name: Name,
      told: (event: Events[Name]) => Delivered,
    ) =>
      this.#posthaste.on(name, (event) => {
        if (event.queue === queue && event.messageId === id) resolve(told(event))
      })
    const off = [
      on('completed', ({ duplicate }) => ({ outcome: 'completed', duplicate })),
      on('retried', ({ delayMs, error }) => ({ outcome: 'retried', delayMs, error })),
      on('dead-lettered', ({ reason, error }) => ({ outcome: 'dead-lettered', reason, error })),
      on('discarded', ({ reason }) => ({ outcome: 'discarded', reason })),
      on('expired', () => ({ outcome: 'expired' })),
    ]
    const end = () => {
      for (const each of off) each()
    }
    const silent = sleep(TIMEOUT_MS, undefined, { ref: false }).then(() => Promise.reject(late('deliver')))
    silent.catch(() => {})
    return { outcome: Promise.race([promise, silent]), end }
  }
}

/** Counts what a Posthaste says became of deliveries. */
class Count {
  readonly #failures: FailedAttempt[] = []
  readonly #off: (() => void)[]
  readonly #counts = { completed: 0, duplicates: 0, retried: 0, deadLettered: 0, discarded: 0, expired: 0 }

  constructor(posthaste: Pick<Posthaste<unknown>, 'on'>) {
    this.#off = [
      posthaste.on('completed', ({ duplicate }) => void this.#counts[duplicate ? 'duplicates' : 'completed']++),
      posthaste.on('retried', (event) => this.#failed('retried', event)),
      posthaste.on('dead-lettered', (event) => this.#failed('deadLettered', event)),
      posthaste.on('discarded', () => void this.#counts.discarded++),
      posthaste.on('expired', () => void this.#counts.expired++),
    ]
  }

  get drained(): Drained {
    return { ...this.#counts, failures: this.#failures }
  }

  end(): void {
    for (const off of this.#off) off()
  }

  #failed(counter: 'retried' | 'deadLettered', { queue, messageId, type, attempt, error }: FailedAttempt): void {
    this.#counts[counter] += 1
    this.#failures.push({ queue, messageId, type, attempt, error })
  }
}

function isMeant(message: PublishedMessage, matcher: Matcher<unknown>, envelope: object): boolean {
  const { payload, ...rest } = message
  return (typeof matcher === 'function' ? matcher(payload) : fits(matcher, payload)) && fits(envelope, rest)
}

function described(matcher: Matcher<unknown>, message: object): string {
  const said = typeof matcher === 'function' ? matcher.toString() : textOf(matcher)
  return Object.keys(message).length > 0 ? `with ${said} and ${textOf(message)}` : `with ${said}`
}

function textOf(part: unknown): string {
  return JSON.stringify(part, (_, value) => (value instanceof RegExp ? String(value) : value)) ?? String(part)
}

// Enough to see what is different, and nothing that is different anyway.
function shown({ payload, key, routingKey, exchange, headers }: PublishedMessage): object {
  return { payload, key, routingKey, exchange, headers }
}

function failed({ failures }: Drained): AssertionError {
  const told = failures.map(
    ({ queue, type, attempt, error }) =>
      `${type} in "${queue}", attempt ${attempt}: ${error ? `${error.name}: ${error.message}` : 'by its handler’s own choice'}`,
  )
  return new AssertionError({
    message: `Expected every attempt to succeed:\n${told.join('\n')}`,
    actual: failures,
    expected: [],
    operator: 'drain',
  })
}

function late(what: string): AssertionError {
  return new AssertionError({ message: `Cannot ${what}: there was no end to it in time`, operator: what })
}
