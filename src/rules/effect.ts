import { createHash } from 'node:crypto'
import { v5 } from 'uuid'
import { InvalidMessage, InvalidOption } from '../errors.ts'
import { jsonText, stringFlaw } from './json-text.ts'
import type { Provider } from './provider.ts'

/**
 * Where an operation stands.
 *
 *     started       claimed; a call may be under way, or its outcome may be known and not recorded yet
 *     succeeded     it happened, and what the business wrote for it is committed with this word
 *     failed        it definitely did not happen, and what the business wrote for that is committed with this word
 *     unknown       a call was begun, and nobody knows what came of it: never "failed"
 *     needs_review  nobody knows, and nothing may be repeated any more
 */
export type EffectState = 'started' | 'succeeded' | 'failed' | 'unknown' | 'needs_review'

export const EFFECT_STATES: readonly EffectState[] = Object.freeze([
  'started',
  'succeeded',
  'failed',
  'unknown',
  'needs_review',
])

/**
 * Why an operation wants somebody.
 *
 *     unknown       a call was begun, and nobody knows what came of it: its message is attempted again, or was set aside
 *     needs_review  only a person or a webhook can say
 *     overdue       begun too long ago: its process is gone, and nobody has come back to it
 *     unrecorded    the outcome is known, and the business rows are not written
 *     contradicted  it was recorded as one thing, and the provider has said the other, or twice
 */
export type EffectWant = 'unknown' | 'needs_review' | 'overdue' | 'unrecorded' | 'contradicted'

export const EFFECT_WANTS: readonly EffectWant[] = Object.freeze([
  'unknown',
  'needs_review',
  'overdue',
  'unrecorded',
  'contradicted',
])

/** What is definite. */
export type EffectOutcome = 'succeeded' | 'failed'

/**
 * What makes a repetition harmless: a provider's key (`keyed`), the call itself (`idempotent`), or nothing (`at-most-once`).
 */
export type EffectKind = 'keyed' | 'idempotent' | 'at-most-once'

/** How long the name of an operation may be, in bytes. */
const OPERATION_BYTES = 255
const REQUEST_BYTES = 1_048_576

/** The most keys an operation has for its provider; the schema holds it too. */
export const MOST_KEYS = 5

// Made once, for this purpose.
const NAMESPACE = '5d0f3a0e-6f0b-5b8e-9c41-1f4b7d0e2a53'
const EVENTS = 'c1a4be7e-02a6-5f3d-8a55-7f6d3b1c9e20'

/** The name of an operation, or an `InvalidOption`. */
export function checkedOperation(operation: unknown): string {
  if (typeof operation !== 'string' || operation === '') throw new InvalidOption('operation', 'it is not a text')
  const flaw = stringFlaw(operation)
  if (flaw !== undefined) throw new InvalidOption('operation', `it ${flaw}`)
  if (Buffer.byteLength(operation) > OPERATION_BYTES) {
    throw new InvalidOption('operation', `it has more than ${OPERATION_BYTES} bytes`)
  }
  return operation
}

/**
 * The idempotency key of an operation, a uuid: made of its name and of how many keys it had, of nothing else. The same from
 * every message, attempt, process and retry.
 */
export function providerKeyOf(operation: string, provider: string | undefined, number: number): string {
  return v5(JSON.stringify([provider ?? null, operation, number]), NAMESPACE)
}

/** The inbox id of an event that a provider sent: the same whenever it is sent again. */
export function eventIdOf(provider: string, eventId: string): string {
  return v5(JSON.stringify([provider, eventId]), EVENTS)
}

/** What an operation was asked to do, as a hash: the order of properties does not matter. */
export function fingerprintOf(request: unknown, kind: EffectKind, provider: string | undefined): string {
  const text = request === undefined ? '' : requestText(request)
  return createHash('sha256')
    .update(JSON.stringify([kind, provider ?? null, text]))
    .digest('hex')
}

function requestText(request: unknown): string {
  try {
    return canonical(JSON.parse(jsonText(request, REQUEST_BYTES, { messageType: 'effect', path: 'request' })))
  } catch (error) {
    if (!(error instanceof InvalidMessage)) throw error
    throw new InvalidOption('request', error.message.replace(/^.*?": /, ''), { cause: error })
  }
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  return `{${entries.map(([key, child]) => `${JSON.stringify(key)}:${canonical(child)}`).join(',')}}`
}

/** What is known when the next step is chosen. */
export interface Situation {
  readonly kind: EffectKind
  readonly policy: Provider['onReplay5xx']
  readonly outcome: EffectOutcome | undefined
  readonly keyNumber: number
  /** Calls begun with the present key. */
  readonly keyCalls: number
  /** Server errors the provider answered with the present key. */
  readonly keyErrors: number
  /** The provider may have forgotten the key, or it is too late for another reason. */
  readonly closed: boolean
  /** Whether the provider can be asked. */
  readonly canAsk: boolean
  /** What it said when it was asked by this run. */
  readonly asked: 'absent' | undefined
}

export type Step = 'settle' | 'call' | 'reconcile' | 'new-key' | 'review'

/**
 * What to do next with an operation that is ours. A first call is made; after that the provider is asked before anything is
 * repeated; a call is repeated only with the same key while the provider remembers it; and what can be neither asked nor
 * repeated goes before people.
 */
export function nextStep(now: Situation): Step {
  if (now.outcome !== undefined) return 'settle'
  if (now.keyCalls === 0) return now.closed ? 'review' : 'call'
  if (now.canAsk && now.asked === undefined) return 'reconcile'
  if (now.closed || now.kind === 'at-most-once') return 'review'
  if (mayHaveNewKey(now)) return 'new-key'
  return 'call'
}

// One server error may come from a proxy while the call goes on behind it; the same one again, for a repetition under the same
// key, is the provider's last word for that key. Only then does "there is nothing" mean that nothing will be.
function mayHaveNewKey({ kind, policy, keyErrors, keyNumber, asked }: Situation): boolean {
  if (kind !== 'keyed' || policy !== 'new-key-after-confirmed-absence') return false
  return keyErrors >= 2 && asked === 'absent' && keyNumber < MOST_KEYS
}

/** How long to wait before an unknown operation is run again, in milliseconds, after so many calls. */
export function waitAfter(calls: number): number {
  return Math.min(60_000, 500 * 2 ** Math.min(calls, 10))
}
