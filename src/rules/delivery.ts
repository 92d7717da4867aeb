import type { AttemptError } from './error-summary.ts'
import { type CompleteOutcome, type Outcome, Outcomes, type PauseRequest, type RetryRequest } from './outcome.ts'

export type { AttemptError }

/** A message, as the log has it. */
export interface MessageFacts<Payload = unknown> {
  /** The message's id, a uuid made by its producer: the same at every attempt, in every queue. The key for idempotent calls. */
  readonly id: string
  readonly type: string
  /** The version the producer wrote; the payload is already in the shape of your contract's version. */
  readonly version: number
  readonly exchange: string
  readonly routingKey: string
  readonly key: string | undefined
  /** 0 to 9; 9 is most urgent. */
  readonly priority: number
  readonly headers: Readonly<Record<string, unknown>>
  /** The output of the contract's schema; plain JSON for `otherwise`; undefined when the message has a body. */
  readonly payload: Payload
  /** The bytes as they were published, or undefined when the message has a payload. */
  readonly body: Uint8Array | undefined
  readonly contentType: string | undefined
  readonly correlationId: string | undefined
  readonly causationId: string | undefined
  readonly publishedAt: Date
  /** Its place in the log, a whole number in text: given when it was published, so a message that was committed late may have a low one. */
  readonly position: string
}

/** What is known of one attempt: the message, the queue, and what came before. */
export interface DeliveryFacts<Payload = unknown> extends MessageFacts<Payload> {
  readonly queue: string
  /** 1 for the first. */
  readonly attempt: number
  /** After this many it becomes a dead letter. */
  readonly maxAttempts: number
  /** How often a process ended while it held this delivery. */
  readonly crashes: number
  /** What earlier attempts failed with, oldest first. */
  readonly errors: readonly AttemptError[]
}

/**
 * One message for one queue, as a handler gets it. Its outcome makers may be taken apart:
 * `async ({ payload, retry }) => …`.
 *
 * ```ts
 * posthaste.consumer('billing').on(OrderPlaced, async (delivery, { tx }) => {
 *   if (await isClosed(tx)) return delivery.retry({ delayMs: 60_000 })
 *   await charge(tx, delivery.payload)
 * })
 * ```
 */
export interface Delivery<Payload = unknown> extends DeliveryFacts<Payload> {
  /** It was attempted before, or held by a process that ended. */
  readonly redelivered: boolean

  /** To be returned: attempt it again later. Uses an attempt; the last one makes it a dead letter. */
  readonly retry: (request?: RetryRequest) => Outcome
  /** To be returned: keep it among the dead letters, now. */
  readonly deadLetter: (reason: string) => Outcome
  /** To be returned: nothing is to be done, now or later. */
  readonly discard: (reason: string) => Outcome
  /**
   * To be returned when what the handler needs is out of order: the delivery goes back and uses no attempt, and no process
   * consumes anything of the queue until the time is over or somebody resumes it.
   */
  readonly pause: (request: PauseRequest) => Outcome
}

/** A delivery and the one question its consumer asks afterwards: what does the handler's answer mean? */
export interface OpenDelivery<Payload = unknown> {
  readonly delivery: Delivery<Payload>
  /** Throws `OutcomeNotReturned` when an outcome was made and not returned. */
  settle(returned: unknown): Outcome | CompleteOutcome
  /** What was said of it from outside of its handler: an outcome it made, or nothing. */
  answer(returned: unknown): Outcome | undefined
}

export function openDelivery<Payload>(facts: DeliveryFacts<Payload>): OpenDelivery<Payload> {
  const outcomes = new Outcomes()
  const delivery: Delivery<Payload> = {
    ...facts,
    redelivered: facts.attempt > 1 || facts.crashes > 0,
    retry: (request) => outcomes.retry(request),
    deadLetter: (reason) => outcomes.deadLetter(reason),
    discard: (reason) => outcomes.discard(reason),
    pause: (request) => outcomes.pause(request),
  }
  return { delivery, settle: (returned) => outcomes.settle(returned), answer: (returned) => outcomes.answer(returned) }
}
