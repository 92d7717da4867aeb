import type { EffectCall, Failed, Unanswered } from '../../src/effects.ts'

export interface Charge {
  readonly id: string
  readonly cents: number
}

export interface Declined {
  readonly code: string
}

export type Answer = Charge | Failed<Declined> | Unanswered

/** What the provider does to the next call: what it executes, and what the caller gets to see of it. */
export type Fate = 'ok' | 'decline' | 'lost-before' | 'lost-after' | '500-before' | '500-after' | '500-kept' | '409'

interface Kept {
  readonly charge?: Charge
  readonly declined?: Declined
  readonly status?: number
}

/**
 * A provider with idempotency keys, in memory: what it has executed, and what it remembers under which key. It replays what it
 * remembers, server errors included, as Stripe does.
 */
export class Psp {
  readonly executed: { readonly operation: string; readonly key: string; readonly cents: number }[] = []
  readonly requests: { readonly key: string; readonly fate: Fate }[] = []
  readonly questions: string[] = []
  readonly #kept = new Map<string, Kept>()
  readonly #fates: Fate[] = []

  /** What becomes of the calls to come, one after the other; `ok` afterwards. */
  will(...fates: Fate[]): this {
    this.#fates.push(...fates)
    return this
  }

  /** The provider's window closes: all keys are forgotten. */
  forget(): void {
    this.#kept.clear()
  }

  readonly capture =
    (cents: number) =>
    async ({ operation, idempotencyKey: key, failed, unknown }: EffectCall): Promise<Answer> => {
      const fate = this.#fates.shift() ?? 'ok'
      this.requests.push({ key, fate })
      if (fate === '409') return unknown('a call with this key is under way', { status: 409 })
      if (fate === 'lost-before') throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
      if (fate === '500-before') return unknown('internal error', { status: 500 })
      if (!this.#kept.has(key)) this.#execute(operation, key, cents, fate)
      const { charge, declined, status } = this.#kept.get(key)!
      if (fate === 'lost-after') throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
      if (status) throw Object.assign(new Error('internal error'), { status })
      return declined ? failed(declined) : charge!
    }

  readonly find = async ({
    operation,
    idempotencyKey: key,
    failed,
  }: EffectCall): Promise<Charge | Failed<Declined> | undefined> => {
    this.questions.push(key)
    const { charge, declined } = this.#kept.get(key) ?? {}
    const done = this.executed.find((one) => one.operation === operation && one.key === key)
    return declined ? failed(declined) : (charge ?? (done && { id: `ch_${key}`, cents: done.cents }))
  }

  #execute(operation: string, key: string, cents: number, fate: Fate): void {
    if (fate === 'decline') this.#kept.set(key, { declined: { code: 'card_declined' } })
    else if (fate === '500-kept') this.#kept.set(key, { status: 500 })
    else {
      this.executed.push({ operation, key, cents })
      const charge = { id: `ch_${key}`, cents }
      this.#kept.set(key, fate === '500-after' ? { charge, status: 500 } : { charge })
    }
  }
}

/** A promise to be settled from outside. */
export function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: () => resolve() }
}
