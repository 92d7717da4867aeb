import { randomUUID } from 'node:crypto'
import type { Context } from '../context.ts'
import { EffectConflict, EffectResponseRefused } from '../errors.ts'
import { abortable } from '../machinery/abortable.ts'
import {
  beginEffectCall,
  type Claim,
  claimEffect,
  type EffectRow,
  type EvidenceOf,
  endEffectCall,
  renewEffectKey,
  reviewEffect,
} from '../postgres/effects.ts'
import { type EffectKind, nextStep, providerKeyOf, type Situation, waitAfter } from '../rules/effect.ts'
import { hasCode, summarise } from '../rules/error-summary.ts'
import type { Provider } from '../rules/provider.ts'
import { type EffectCall, Failed, failed, Unanswered, unknown } from './answer.ts'
import { type Bodies, type KeptBody, NO_BODY } from './bodies.ts'
import { EffectClaim, insist, Mark } from './claim.ts'

/** A run, when every option has its value. */
export interface Running {
  readonly operation: string
  readonly kind: EffectKind
  readonly provider: Provider | undefined
  readonly fingerprint: string
  readonly call: (call: EffectCall) => Promise<unknown>
  readonly reconcile: ((call: EffectCall) => Promise<unknown>) | undefined
  readonly timeoutMs: number
  readonly leaseMs: number
  readonly notAfter: Date | undefined
  readonly signal: AbortSignal | undefined
}

/** What a run came to, before it is told to the user. */
export type Ended =
  | { readonly kind: 'known'; readonly effect: EffectRow; readonly replayed: boolean; readonly kept?: KeptBody }
  | { readonly kind: 'unknown'; readonly reason: string; readonly retryAfterMs: number }
  | { readonly kind: 'review'; readonly reason: string }

export interface RunPlace {
  readonly context: Context
  readonly bodies: Bodies
  readonly worker: string
}

/** Patience with the database before a call; nothing has happened yet. */
const PATIENCE_MS = 2_000
const BUSY_RETRY_MS = 250

/**
 * One run of an operation: claim it, and then step by step what `nextStep` says, until something is known, nobody can know,
 * or a later run has to go on.
 *
 *     claim (durable) → begin (durable, the last look) → the call → what came of it (durable) → the user's transaction records
 *
 * A process may die between any two of them. Before `begin` nothing has happened. After it the outcome is unknown to the next
 * run, which asks the provider or repeats with the same key. After the answer is written down nobody is called again.
 */
export class EffectRun {
  readonly #place: RunPlace
  readonly #running: Running
  readonly #id = randomUUID()
  #absent = false
  #closed = false
  #asked = new Mark()
  #claimed: Claim | undefined
  #effect: EffectRow | undefined
  #kept: KeptBody | undefined

  constructor(place: RunPlace, running: Running) {
    this.#place = place
    this.#running = running
  }

  async run(): Promise<Ended> {
    this.#running.signal?.throwIfAborted()
    this.#asked = new Mark()
    const claimed = await this.#claim()
    if (claimed === 'locked') return busy('another transaction is recording it', BUSY_RETRY_MS)
    const { verdict, effect, leaseLeftMs = 0 } = claimed
    this.#claimed = claimed
    this.#effect = effect
    switch (verdict) {
      case 'different':
        throw new EffectConflict(effect.operation)
      case 'busy':
        return busy(`${effect.holder} is at it`, Math.max(BUSY_RETRY_MS, Math.ceil(leaseLeftMs)))
      case 'ended':
        return this.#ended(effect)
      case 'claimed': {
        const { leaseMs } = this.#running
        const claim = new EffectClaim(this.#place.context, claimed, { leaseMs, asked: this.#asked })
        return await claim.during(() => this.#work(claim))
      }
    }
  }

  #ended(effect: EffectRow): Ended {
    if (effect.state === 'needs_review')
      return { kind: 'review', reason: effect.reason ?? 'nobody knows what happened' }
    return { kind: 'known', effect, replayed: true }
  }

  async #claim(): Promise<Claim | 'locked'> {
    const { context, worker } = this.#place
    const { operation, kind, provider, fingerprint, leaseMs } = this.#running
    const query = claimEffect(context.tables, {
      operation,
      kind,
      provider: provider?.name,
      fingerprint,
      providerKey: providerKeyOf(operation, provider?.name, 1),
      windowMs: provider?.keyWindowMs,
      claim: this.#id,
      worker,
      leaseMs,
    })
    try {
      const [claim] = await insist(context, query, { patienceMs: PATIENCE_MS })
      return claim!
    } catch (error) {
      if (hasCode(error, '55P03')) return 'locked'
      throw error
    }
  }

  async #work(claim: EffectClaim): Promise<Ended> {
    for (;;) {
      const ended = await this.#step(claim)
      if (ended) return ended
    }
  }

  /** One step; undefined when another follows. */
  async #step(claim: EffectClaim): Promise<Ended | undefined> {
    switch (nextStep(this.#situation)) {
      case 'settle':
        return { kind: 'known', effect: this.#effect!, replayed: false, ...(this.#kept && { kept: this.#kept }) }
      case 'call':
        return await this.#call(claim)
      case 'reconcile':
        return await this.#reconcile(claim)
      case 'new-key':
        return await this.#renewKey(claim)
      case 'review':
        return await this.#review(claim)
    }
  }

  get #situation(): Situation {
    const { kind, outcome, keyNumber, keyCalls, keyErrors } = this.#effect!
    const { provider, reconcile } = this.#running
    return {
      kind,
      policy: provider?.onReplay5xx ?? 'reconcile',
      outcome,
      keyNumber,
      keyCalls,
      keyErrors,
      closed: this.#closed,
      canAsk: reconcile !== undefined,
      asked: this.#absent ? 'absent' : undefined,
    }
  }

  async #call(claim: EffectClaim): Promise<Ended | undefined> {
    const call = randomUUID()
    const begun = await this.#begin(claim, call)
    if (begun === 'lost') return lost()
    if (begun === 'closed') {
      this.#closed = true
      return undefined
    }
    if (begun === 'known' || begun === 'expired') return await this.#lookAgain(claim)
    return await this.#ask(claim, call, 'answered', this.#running.call)
  }

  async #reconcile(claim: EffectClaim): Promise<Ended | undefined> {
    return await this.#ask(claim, randomUUID(), 'reconciled', this.#running.reconcile!)
  }

  /**
   * The last look, and the note that a call may have been made. Whoever was stopped between that note and here, for however
   * long, looks again: what was stopped for longer than its lease calls nobody.
   */
  async #begin(claim: EffectClaim, call: string) {
    const { context, worker } = this.#place
    const { leaseMs, timeoutMs, notAfter, signal } = this.#running
    signal?.throwIfAborted()
    const asked = new Mark()
    const facts = { ...claim.held, call, worker, leaseMs, marginMs: timeoutMs, notAfter }
    const [answer] = await insist(context, beginEffectCall(context.tables, facts), { patienceMs: PATIENCE_MS })
    const { begun } = answer!
    if (begun !== 'begun') return begun
    claim.renewedAt(asked)
    while (claim.isStale) if (!(await claim.renew())) return 'lost'
    return begun
  }

  /** Calls the provider, or asks it, and writes down what came of it, before anything else is done with it. */
  async #ask(
    claim: EffectClaim,
    call: string,
    event: EvidenceOf['event'],
    ask: (call: EffectCall) => Promise<unknown>,
  ): Promise<Ended | undefined> {
    const { operation, providerKey, calls } = this.#effect!
    const startedAt = performance.now()
    const signals = [claim.signal, AbortSignal.timeout(this.#running.timeoutMs), this.#running.signal]
    const signal = AbortSignal.any(signals.filter((one) => one !== undefined))
    const attempt = event === 'answered' ? calls + 1 : calls
    const asking = (async () =>
      await ask({ operation, idempotencyKey: providerKey, signal, attempt, failed, unknown }))()
    const late = (answer: unknown) => void this.#late(claim, call, event, answer)
    const answer = await abortable(asking, signal, late).catch((error) =>
      silence(error, signal, this.#running.timeoutMs),
    )
    const heard = await this.#hear(answer, event)
    const reason = await this.#writeDown(claim, call, event, heard)
    this.#tell(event, heard, performance.now() - startedAt)
    if (heard.refused) throw heard.refused
    return reason
  }

  async #writeDown(
    claim: EffectClaim,
    call: string,
    event: EvidenceOf['event'],
    heard: Heard,
  ): Promise<Ended | undefined> {
    const { outcome } = heard
    const closed = event === 'reconciled' && this.#isClosing
    const evidence = await this.#evidence(claim, call, event, heard, { release: outcome === 'unknown' && !closed })
    if (evidence.late) return lost()
    if (evidence.fresh) {
      this.#effect = { ...this.#effect!, outcome: evidence.known, reason: heard.reason }
      this.#kept = heard.kept
      return undefined
    }
    if (evidence.known) return await this.#lookAgain(claim)
    if (outcome === 'absent') {
      this.#absent = true
      return undefined
    }
    // Nothing may be repeated and the provider cannot tell: there is nothing left that this run, or another, may do.
    if (closed || (event === 'answered' && this.#isOnce)) return await this.#review(claim)
    return { kind: 'unknown', reason: heard.reason ?? 'no answer', retryAfterMs: waitAfter(this.#effect!.calls) }
  }

  get #isOnce(): boolean {
    const { kind, reconcile } = this.#running
    return kind === 'at-most-once' && reconcile === undefined
  }

  // By the database's clock when it was claimed, and the time that has passed here since.
  get #isClosing(): boolean {
    const { timeoutMs } = this.#running
    const { windowLeftMs } = this.#claimed!
    return windowLeftMs !== undefined && windowLeftMs - this.#asked.elapsedMs <= timeoutMs
  }

  async #lookAgain(claim: EffectClaim): Promise<Ended | undefined> {
    const again = await this.#claim()
    if (again === 'locked' || again.verdict === 'busy' || again.effect.token !== claim.token) return lost()
    if (again.verdict === 'ended') return this.#ended(again.effect)
    this.#effect = again.effect
    this.#kept = undefined
    return undefined
  }

  async #evidence(
    claim: EffectClaim,
    call: string,
    event: EvidenceOf['event'],
    heard: Heard,
    { release }: { readonly release: boolean },
  ) {
    const { context, worker } = this.#place
    const { leaseMs } = this.#running
    const query = endEffectCall(context.tables, {
      ...claim.held,
      call,
      event,
      worker,
      providerKey: this.#effect!.providerKey,
      outcome: heard.outcome,
      reason: heard.reason,
      status: heard.status,
      response: heard.kept.response,
      sealed: heard.kept.sealed,
      leaseMs,
      release,
    })
    const asked = new Mark()
    const [evidence] = await insist(context, query, { patienceMs: leaseMs })
    if (evidence!.fresh && !evidence!.late) claim.renewedAt(asked)
    if (evidence!.contradicted) context.events.emit('effect-contradicted', { operation: claim.operation })
    return evidence!
  }

  // The call did not heed its signal and answered after all: whoever is at it by now, the money may have moved.
  async #late(claim: EffectClaim, call: string, event: EvidenceOf['event'], answer: unknown): Promise<void> {
    const { context } = this.#place
    try {
      const heard = await this.#hear(answer, event)
      if (heard.outcome !== 'succeeded' && heard.outcome !== 'failed') return
      const evidence = { ...heard, reason: heard.reason ?? `a late answer to ${call}` }
      await this.#evidence(claim, randomUUID(), event, evidence, { release: false })
      this.#tell(event, heard, undefined)
    } catch (error) {
      context.events.emit('error', { where: 'effects', error: summarise(error) })
    }
  }

  async #renewKey(claim: EffectClaim): Promise<Ended | undefined> {
    const { context, worker } = this.#place
    const { operation, provider } = this.#running
    const keyNumber = this.#effect!.keyNumber + 1
    const providerKey = providerKeyOf(operation, provider?.name, keyNumber)
    const query = renewEffectKey(context.tables, { ...claim.held, worker, keyNumber, providerKey })
    await insist(context, query, { patienceMs: PATIENCE_MS })
    return await this.#lookAgain(claim)
  }

  async #review(claim: EffectClaim): Promise<Ended | undefined> {
    const { context, worker } = this.#place
    const reason = this.#reviewReason
    const query = reviewEffect(context.tables, { ...claim.held, worker, reason })
    const [answer] = await insist(context, query, { patienceMs: PATIENCE_MS })
    if (!answer!.reviewed) return await this.#lookAgain(claim)
    context.events.emit('effect-needs-review', { operation: claim.operation, reason })
    return { kind: 'review', reason }
  }

  get #reviewReason(): string {
    const { kind } = this.#effect!
    const asked = this.#absent ? 'the provider has nothing under its key' : 'the provider could not tell'
    if (kind === 'at-most-once') return `it may have been done, and must not be repeated; ${asked}`
    return `the provider may have forgotten its key, so that a repetition could do it twice; ${asked}`
  }

  /** What an answer means. `undefined` and `null` mean "nothing there" to a question, and "done" to a call. */
  async #hear(answer: unknown, event: EvidenceOf['event']): Promise<Heard> {
    if (Unanswered.is(answer))
      return { outcome: 'unknown', reason: answer.reason, status: answer.status, kept: NO_BODY }
    if (event === 'reconciled' && (answer === undefined || answer === null)) {
      return { outcome: 'absent', reason: undefined, status: undefined, kept: NO_BODY }
    }
    const refused = Failed.is(answer)
    try {
      const kept = await this.#place.bodies.keep(this.#running.operation, refused ? answer.failure : answer)
      return refused
        ? { outcome: 'failed', reason: 'declined', status: undefined, kept }
        : { outcome: 'succeeded', reason: undefined, status: undefined, kept }
    } catch (error) {
      if (!(error instanceof EffectResponseRefused)) throw error
      return { outcome: 'unknown', reason: error.message, status: undefined, kept: NO_BODY, refused: error }
    }
  }

  #tell(event: EvidenceOf['event'], { outcome, reason }: Heard, durationMs: number | undefined): void {
    const { operation } = this.#running
    const { events } = this.#place.context
    events.emit('effect-answered', { operation, asked: event === 'reconciled', outcome, reason, durationMs })
  }
}

interface Heard {
  readonly outcome: EvidenceOf['outcome']
  readonly reason: string | undefined
  readonly status: number | undefined
  readonly kept: KeptBody
  /** It was answered, and the answer cannot be stored: the developer has to be told. */
  readonly refused?: EffectResponseRefused
}

// Whatever a call throws is no answer: it says nothing of what the provider has done.
function silence(error: unknown, signal: AbortSignal, timeoutMs: number): Unanswered {
  if (signal.aborted && hasName(signal.reason, 'TimeoutError')) return unknown(`no answer within ${timeoutMs} ms`)
  const { name, message, code } = summarise(error)
  return new Unanswered(`${code ?? name}: ${message}`, statusOf(error))
}

function hasName(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name
}

// The field under which clients of HTTP keep the status.
function statusOf(error: unknown): number | undefined {
  const { status, statusCode, response } = (error ?? {}) as Record<string, unknown>
  const nested = (response as { status?: unknown } | undefined)?.status
  return [status, statusCode, nested].find((one): one is number => Number.isInteger(one))
}

function lost(): Ended {
  return busy('another process has taken over', BUSY_RETRY_MS)
}

function busy(reason: string, retryAfterMs: number): Ended {
  return { kind: 'unknown', reason, retryAfterMs }
}
