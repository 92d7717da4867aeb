import { hostname } from 'node:os'
import { ask } from './ask.ts'
import { Attempt } from './consumer/attempt.ts'
import type { Context } from './context.ts'
import type { EffectCall, Failed, FailureOf, ResponseOf, Unanswered } from './effects/answer.ts'
import { Bodies, type EffectBodies, type StoredBody } from './effects/bodies.ts'
import type { Effect, Recorded, RecordOutcome } from './effects/result.ts'
import { EffectRun, type Ended, type Running } from './effects/run.ts'
import { EffectLost, EffectNotResolved, InvalidOption } from './errors.ts'
import { inSavepoint } from './in-savepoint.ts'
import { Inbox, type Once } from './inbox.ts'
import {
  type EffectAccountRow,
  type EffectAttemptRow,
  type EffectRow,
  effectAccount,
  effectAttempts,
  eraseEffects,
  listEffects,
  type ResolvedAs,
  recordEffect,
  recordEffectFromElsewhere,
  resolveEffect,
  showEffect,
  type WantingRow,
} from './postgres/effects.ts'
import { run } from './postgres/queryable.ts'
import { noteEffectCause } from './postgres/trace.ts'
import {
  checkedOperation,
  EFFECT_STATES,
  EFFECT_WANTS,
  type EffectKind,
  type EffectOutcome,
  type EffectState,
  type EffectWant,
  eventIdOf,
  fingerprintOf,
  providerKeyOf,
} from './rules/effect.ts'
import { summarise } from './rules/error-summary.ts'
import { milliseconds, parseOptions, passedThrough, shape, wholeNumber } from './rules/options.ts'
import { type ProviderOptions, providerOf, requireWindow } from './rules/provider.ts'
import type { AnyTransaction } from './transaction-handle.ts'

export type { EffectCall, Failed, FailureOf, ResponseOf, Unanswered } from './effects/answer.ts'
export type { EffectBodies } from './effects/bodies.ts'
export type {
  DeclinedEffect,
  Effect,
  EffectInReview,
  Recorded,
  RecordOutcome,
  SucceededEffect,
  UndoneEffect,
  UnknownEffect,
} from './effects/result.ts'
export type { EffectAttention } from './postgres/effects.ts'
export type { EffectKind, EffectOutcome, EffectState, EffectWant } from './rules/effect.ts'
export { defineProvider, type Provider, type ProviderOptions } from './rules/provider.ts'

/** What makes a repetition harmless. Exactly one of them is to be chosen. */
export type Repeatable =
  | {
      /** The provider takes idempotency keys: how long it remembers them, and what it replays. */
      readonly provider: ProviderOptions
      readonly effect?: never
    }
  | {
      /**
       * The provider takes no keys. `'idempotent'`: the call may be repeated at any time, and does the same once more without
       * harm. `'at-most-once'`: it is never repeated; when nobody knows what came of it, a person has to find out.
       */
      readonly effect: 'idempotent' | 'at-most-once'
      readonly provider?: never
    }

/** What an operation asks for, of whom, and how: the request, the provider, the call, and how to ask what became of it. */
export type RunOptions<Answer> = Repeatable & {
  /**
   * What is asked for, as JSON: amount, currency, account. Only its hash is stored; the same operation with another request is
   * refused. Nothing that changes from attempt to attempt, and no card number.
   */
  readonly request: unknown
  /**
   * Calls the provider, once, with the key it is given: no retries of its own without it. What it returns is recorded and given
   * to every duplicate. `failed(…)` is for a definite no; everything thrown is an unknown outcome.
   */
  readonly call: (call: EffectCall) => Promise<Answer>
  /**
   * Asks the provider what became of the operation, without changing anything: by the key, or by a reference of yours. Its
   * answer is what `call` would have answered; `undefined` or `null` when the provider has nothing.
   */
  readonly reconcile?: (
    call: EffectCall,
  ) => Promise<NoInfer<ResponseOf<Answer> | Failed<FailureOf<Answer>>> | Unanswered | undefined | null>
  /** How long a call may take, in milliseconds; then its outcome is unknown. @default 20_000 */
  readonly timeoutMs?: number
  /** How long a process that dies keeps others from the operation, in milliseconds; renewed while it works. @default 30_000 */
  readonly leaseMs?: number
  /** After this time no first call is made, and the operation has failed as `expired`. @default none */
  readonly notAfter?: Date
  /** Ends a call under way; its outcome is unknown then. Inside a handler that of the attempt counts as well. @default none */
  readonly signal?: AbortSignal
}

export const DEFAULT_RUN = Object.freeze({ timeoutMs: 20_000, leaseMs: 30_000 })

const RUN = shape((z) =>
  z.strictObject({
    provider: passedThrough<ProviderOptions | undefined>().optional(),
    effect: z.enum(['idempotent', 'at-most-once']).optional(),
    request: z.unknown(),
    call: passedThrough<Running['call']>(),
    reconcile: passedThrough<Running['reconcile']>().optional(),
    timeoutMs: milliseconds(1).default(DEFAULT_RUN.timeoutMs),
    leaseMs: milliseconds(500).default(DEFAULT_RUN.leaseMs),
    notAfter: z.date().optional(),
    signal: passedThrough<AbortSignal | undefined>().optional(),
  }),
)

/** An operation in the ledger; its response is opened and redacted, or undefined. */
export interface LedgerEntry extends Omit<WantingRow, 'response' | 'sealed'> {
  readonly response: unknown
}

/** One line of the record of an operation; what was stored is opened. */
export interface LedgerAttempt extends Omit<EffectAttemptRow, 'response' | 'sealed'> {
  readonly response: unknown
}

/** One operation with everything that was tried, oldest first. */
export interface LedgerHistory extends LedgerEntry {
  readonly attempts: readonly LedgerAttempt[]
}

/** How many operations there are of each state. */
export interface EffectAccount extends EffectAccountRow {}

/** Which operations to list; what is left out is not looked at. */
export interface EffectFilter {
  /** In one of these states, whether they want anybody or not. @default only what wants somebody */
  readonly state?: EffectState | readonly EffectState[] | 'all' | undefined
  /** Wanting somebody for one of these reasons. @default for any of them, where no state is given */
  readonly wants?: EffectWant | readonly EffectWant[] | undefined
  /** With this provider. @default any */
  readonly provider?: string | undefined
  /** Unchanged for so long, in milliseconds. @default any */
  readonly olderThanMs?: number | undefined
  /** Whose name begins so. @default any */
  readonly startingWith?: string | undefined
  /** How many, 1 to 1,000. @default 100 */
  readonly limit?: number | undefined
  /** Continues a list: what comes after this operation. @default from the one that has waited longest */
  readonly after?: string | undefined
}

const LIST = shape((z) =>
  z.strictObject({
    state: z.union([z.enum(EFFECT_STATES), z.literal('all'), z.array(z.enum(EFFECT_STATES))]).optional(),
    wants: z.union([z.enum(EFFECT_WANTS), z.array(z.enum(EFFECT_WANTS))]).optional(),
    provider: z.string().optional(),
    olderThanMs: milliseconds().optional(),
    startingWith: z.string().optional(),
    limit: wholeNumber(1, 1_000).default(100),
    after: z.string().optional(),
  }),
)

/** What a person, or a webhook, says became of an operation. */
export interface Resolution {
  /**
   * What a person has found out. `'succeeded'` and `'failed'` are recorded, with the business rows, by the next run;
   * `'retry'` says that nothing was done, and lets the next run call again with a new key.
   */
  readonly as: EffectOutcome | 'retry'
  /** Who says so. */
  readonly by: string
  /** Why: a ticket, a line of the provider's report. */
  readonly reason: string
  /** What the call would have answered. @default none */
  readonly response?: unknown
}

const RESOLUTION = shape((z) =>
  z.strictObject({
    as: z.enum(['succeeded', 'failed', 'retry']),
    by: z.string().min(1).max(200),
    reason: z.string().min(1).max(400),
    response: z.unknown().optional(),
  }),
)

/** What became of an operation, and who says so. */
export interface OutcomeElsewhere {
  readonly as: EffectOutcome
  /** What told it: `webhook evt_42`, a file. */
  readonly by: string
  /** What the call would have answered. @default none */
  readonly response?: unknown
}

const ELSEWHERE = shape((z) =>
  z.strictObject({
    as: z.enum(['succeeded', 'failed']),
    by: z.string().min(1).max(200),
    response: z.unknown().optional(),
  }),
)

/** `missing`: no such operation (yet). `contradicted`: it is known to have ended otherwise, and is marked for a person. */
export type RecordedElsewhere<Value> = Recorded<Value> | { readonly status: 'missing' | 'contradicted' }

/**
 * The effect ledger: calls to the outside (a card charge, a payout, an e-mail) that happen once, although processes die,
 * answers are lost, and messages come twice.
 *
 * An operation has a name from the business. It is claimed before the provider is called, the provider's idempotency key is
 * made of the name, and whatever comes of the call is written down before anything is done with it. Then one transaction of
 * yours records it with your rows. What nobody can know is asked for, repeated with the same key while the provider remembers
 * it, and otherwise put before a person. It is never repeated blindly.
 *
 * ```ts
 * posthaste.consumer('payments', { guarantee: 'at-least-once' }).on(OrderPlaced, async (delivery, { complete }) => {
 *   const { orderId, cents } = delivery.payload
 *   const charge = await posthaste.effects.run(`capture:${orderId}`, {
 *     request: { cents, currency: 'EUR' },
 *     provider: acme,
 *     call: async ({ idempotencyKey, signal, failed }) => {
 *       const answer = await psp.capture({ paymentId: orderId, cents }, { idempotencyKey, signal })
 *       return answer.declined ? failed({ code: answer.code }) : { id: answer.id }
 *     },
 *     reconcile: ({ idempotencyKey }) => psp.find(idempotencyKey),
 *   })
 *   if (charge.status === 'unknown') return delivery.retry({ delayMs: charge.retryAfterMs })
 *   if (charge.status === 'needs_review') return delivery.deadLetter(charge.reason)
 *   await complete((tx) => charge.record(tx, () => book(tx, delivery.payload)))
 * })
 * ```
 */
export class Effects {
  readonly #context: Context
  readonly #bodies: Bodies
  readonly #worker: string

  constructor(context: Context, bodies: EffectBodies = {}) {
    this.#context = context
    this.#bodies = new Bodies(bodies)
    this.#worker = `${hostname()}/${process.pid}/${context.instance.slice(0, 8)}`
  }

  /**
   * Does an operation once, or tells what came of it. Its name says what is done to what (`capture:<payment>`), never which
   * message asked: whoever runs the same name gets the recorded answer.
   *
   * In a handler, use `guarantee: 'at-least-once'`: no transaction is open while the provider is called. A handler that
   * completes its delivery with an operation unknown or unrecorded fails with `EffectUnsettled`.
   */
  async run<Answer>(
    operation: string,
    options: RunOptions<Answer>,
  ): Promise<Effect<ResponseOf<Answer>, FailureOf<Answer>>> {
    const attempt = Attempt.current
    const running = this.#running(checkedOperation(operation), options, attempt)
    const place = { context: this.#context, bodies: this.#bodies, worker: this.#worker }
    try {
      const ended = await new EffectRun(place, running).run()
      return (await this.#told(ended, running, attempt)) as Effect<ResponseOf<Answer>, FailureOf<Answer>>
    } finally {
      await this.#note(operation, attempt)
    }
  }

  /**
   * Records, in your transaction, an outcome that was learned elsewhere, with the rows that belong to it: once per operation,
   * whether a run or a webhook comes first. A call under way finds it recorded.
   */
  async record<Value = undefined>(
    tx: AnyTransaction,
    operation: string,
    outcome: OutcomeElsewhere,
    work?: () => Value | Promise<Value>,
  ): Promise<RecordedElsewhere<Value>> {
    const { as, by, response } = parseOptions(ELSEWHERE, outcome)
    const kept = await this.#bodies.keep(checkedOperation(operation), response)
    const { tables, events } = this.#context
    const facts = { operation, as, response: kept.response, sealed: kept.sealed, by, reason: `resolved: ${by}` }
    return await inSavepoint(tx, async (queryable) => {
      const [row] = await run(queryable, recordEffectFromElsewhere(tables, facts))
      const status = row!.recorded
      if (status === 'contradicted') events.emit('effect-contradicted', { operation })
      if (status !== 'recorded') return { status }
      const value = (await work?.()) as Value
      events.emit('effect-recorded', { operation })
      return { status, value }
    })
  }

  /**
   * An event that a provider sent: the work is called once per (provider, event id), however often it is sent, in your
   * transaction. Events come late, twice, and in any order; they may tell what became of an unknown operation.
   *
   * ```ts
   * const { effects } = posthaste
   * await effects.webhook(tx, { provider: 'acme', eventId: event.id }, () =>
   *   effects.record(tx, `capture:${event.paymentId}`, { as: 'succeeded', by: `webhook ${event.id}`, response: event.charge }, () => book(tx, event)))
   * ```
   */
  async webhook<Value>(
    tx: AnyTransaction,
    { provider, eventId }: { readonly provider: string; readonly eventId: string },
    work: () => Value | Promise<Value>,
  ): Promise<Once<Value>> {
    const inbox = new Inbox(this.#context.tables, `webhook:${provider}`)
    return await inbox.once(tx, eventIdOf(provider, eventId), work)
  }

  /** Operations, without their record; those that want somebody, the longest unchanged first. */
  async list(filter: EffectFilter = {}): Promise<LedgerEntry[]> {
    const { state, wants, limit, olderThanMs, provider, startingWith, after } = parseOptions(LIST, filter)
    const where = {
      states: state === undefined || state === 'all' ? undefined : [state].flat(),
      wants: wants === undefined ? (state === undefined ? EFFECT_WANTS : undefined) : [wants].flat(),
      provider,
      startingWith,
      after,
      olderThanMs,
    }
    const rows = await ask(this.#context, listEffects(this.#context.tables, where, limit))
    return await Promise.all(rows.map((row) => this.#opened(row.operation, row)))
  }

  /** One operation with everything that was tried; undefined when there is none of this name. */
  async show(operation: string): Promise<LedgerHistory | undefined> {
    const { tables } = this.#context
    const [row] = await ask(this.#context, showEffect(tables, operation))
    if (!row) return undefined
    const attempts = await ask(this.#context, effectAttempts(tables, operation))
    return {
      ...(await this.#opened(operation, row)),
      attempts: await Promise.all(attempts.map((attempt) => this.#opened(operation, attempt))),
    }
  }

  /** How many operations are in which state, and what wants somebody. */
  async account(): Promise<EffectAccount> {
    const [account] = await ask(this.#context, effectAccount(this.#context.tables))
    return account!
  }

  /**
   * What a person has found out about an operation that is unknown or in review. It is written down with who and why; the next
   * run records it with the business rows, so redrive the message, or run it again. `EffectNotResolved` says why it cannot be taken.
   */
  async resolve(operation: string, resolution: Resolution): Promise<void> {
    const { as, by, reason, response } = parseOptions(RESOLUTION, resolution)
    const { tables, events } = this.#context
    const [row] = await ask(this.#context, showEffect(tables, checkedOperation(operation)))
    if (!row) throw notResolved(operation, 'missing')
    const kept = await this.#bodies.keep(operation, response)
    const keyNumber = row.keyNumber + 1
    const facts = {
      operation,
      as,
      response: kept.response,
      sealed: kept.sealed,
      by,
      reason: `resolved: ${reason}`,
      keyNumber,
      providerKey: providerKeyOf(operation, row.provider, keyNumber),
    }
    const [answer] = await ask(this.#context, resolveEffect(tables, facts))
    if (answer!.resolved !== 'resolved') throw notResolved(operation, answer!.resolved)
    events.emit('effect-resolved', { operation, as, by })
  }

  /**
   * Erases the stored responses of operations that ended before a time; what was done, when, with which key and to which
   * request stays, so nothing is ever done again. A duplicate that comes later gets `undefined` for a response. Resolves to how many.
   */
  async erase({ endedBefore }: { readonly endedBefore: Date }): Promise<number> {
    let total = 0
    for (;;) {
      const [row] = await ask(this.#context, eraseEffects(this.#context.tables, endedBefore))
      if (row!.erased === 0) return total
      total += row!.erased
    }
  }

  #running<Answer>(operation: string, given: RunOptions<Answer>, attempt: Attempt | undefined): Running {
    const { provider: rules, effect, request, signal, ...options } = parseOptions(RUN, given)
    if ((rules === undefined) === (effect === undefined)) {
      throw new InvalidOption(
        'provider',
        'give the rules of the provider’s keys, or choose an `effect` where it has none',
      )
    }
    const provider = rules && providerOf(rules)
    if (provider && attempt?.horizon) requireWindow(provider, attempt.horizon)
    const kind: EffectKind = effect ?? 'keyed'
    return {
      ...options,
      operation,
      kind,
      provider,
      reconcile: options.reconcile,
      notAfter: options.notAfter,
      fingerprint: fingerprintOf(request, kind, provider?.name),
      signal: either(signal, attempt?.signal),
    }
  }

  // For those who trace a message; what the operation came to does not depend on it.
  async #note(operation: string, attempt: Attempt | undefined): Promise<void> {
    if (attempt?.messageId === undefined) return
    const { database, tables, events } = this.#context
    const facts = { operation, messageId: attempt.messageId }
    await run(database, noteEffectCause(tables, facts)).catch((error) =>
      events.emit('error', { where: 'effects', error: summarise(error) }),
    )
  }

  async #told(ended: Ended, { operation }: Running, attempt: Attempt | undefined): Promise<Effect<unknown, unknown>> {
    const settled = () => attempt?.settled(operation)
    if (ended.kind === 'review') {
      settled()
      return { status: 'needs_review', operation, reason: ended.reason }
    }
    if (ended.kind === 'unknown') {
      const { reason, retryAfterMs } = ended
      attempt?.owe(operation, `its outcome is unknown (${reason}); return delivery.retry(), or set it aside`)
      return { status: 'unknown', operation, reason, retryAfterMs, setAside: settled }
    }
    const { effect, replayed } = ended
    const body = ended.kept ? ended.kept.body : await this.#bodies.open(operation, effect)
    if (replayed) settled()
    else attempt?.owe(operation, 'its outcome is not recorded; record it in the transaction of complete()')
    const known = { operation, replayed, record: this.#recorder(effect, settled) }
    if (effect.outcome === 'succeeded') return { ...known, status: 'succeeded', response: body }
    if (effect.reason === 'declined') return { ...known, status: 'failed', reason: 'declined', failure: body }
    return { ...known, status: 'failed', reason: effect.reason === 'expired' ? 'expired' : 'resolved', failure: body }
  }

  #recorder({ operation, token }: EffectRow, settled: () => void): RecordOutcome {
    const { tables, events } = this.#context
    const record = async <Value>(tx: AnyTransaction, work?: () => Value | Promise<Value>): Promise<Recorded<Value>> => {
      const recorded = await inSavepoint(tx, async (queryable): Promise<Recorded<Value>> => {
        const [row] = await run(queryable, recordEffect(tables, { operation, token, worker: this.#worker }))
        if (row!.recorded === 'lost') throw new EffectLost(operation)
        if (row!.recorded === 'duplicate') return { status: 'duplicate' }
        return { status: 'recorded', value: (await work?.()) as Value }
      })
      settled()
      if (recorded.status === 'recorded') events.emit('effect-recorded', { operation })
      return recorded
    }
    return record as RecordOutcome
  }

  async #opened<Stored extends StoredBody>(
    operation: string,
    { response, sealed, ...rest }: Stored,
  ): Promise<Omit<Stored, keyof StoredBody> & { readonly response: unknown }> {
    // a key that is gone, or is not this process', keeps nobody from seeing the rest
    const body = await this.#bodies.open(operation, { response, sealed }).catch(() => '[sealed]')
    return { ...rest, response: body }
  }
}

function either(one: AbortSignal | undefined, other: AbortSignal | undefined): AbortSignal | undefined {
  return one && other ? AbortSignal.any([one, other]) : (one ?? other)
}

const REFUSALS: { readonly [Because in Exclude<ResolvedAs, 'resolved'>]: string } = {
  missing: 'there is none of this name',
  ended: 'it is recorded; what it came to stays',
  busy: 'a process is at it now; look again when its lease has ended',
  contradicted: 'the provider has answered otherwise; see its record',
  exhausted: 'it has had five keys; give a new operation a name of its own',
  changed: 'it changed meanwhile; look again',
}

function notResolved(operation: string, because: Exclude<ResolvedAs, 'resolved'>): EffectNotResolved {
  return new EffectNotResolved(operation, because, REFUSALS[because])
}
