import { ProviderWindowTooShort } from '../errors.ts'
import { milliseconds, parseOptions, shape } from './options.ts'
import { longestRetryMs, type RetryPolicy } from './retry.ts'

/** What is to be known of a provider that takes idempotency keys. */
export interface ProviderOptions {
  /**
   * How long the provider remembers a key, in milliseconds, as its documentation says: 86_400_000 for Stripe and Checkout.com,
   * 21_600_000 for PayPal's orders; docs/payments.md has more. Within it a call is repeated with the same key; after it never.
   * No default: one that is too long charges twice.
   */
  readonly keyWindowMs: number
  /**
   * What to do when the provider answers a repeated call with the same server error (5xx) that it answered before, and so
   * will for as long as it remembers the key. `'reconcile'` asks `reconcile`, and leaves the rest to a person.
   * `'new-key-after-confirmed-absence'` asks as well, and when the provider says that it has nothing under the key, calls
   * again with a new one. @default 'reconcile'
   */
  readonly onReplay5xx?: 'reconcile' | 'new-key-after-confirmed-absence'
  /** Tells providers apart in the ledger. An operation that was begun with one is refused with another. @default 'provider' */
  readonly name?: string
}

/** A provider with its rules, made by `defineProvider`, or given in place. */
export interface Provider extends Required<ProviderOptions> {}

const OPTIONS = shape((z) =>
  z.strictObject({
    name: z.string().min(1).max(100).default('provider'),
    keyWindowMs: milliseconds(1),
    onReplay5xx: z.enum(['reconcile', 'new-key-after-confirmed-absence']).default('reconcile'),
  }),
)

/**
 * A provider as a value, to be imported where it is called and where its rules are checked.
 *
 * ```ts
 * export const acme = defineProvider('acme', { keyWindowMs: 86_400_000 })
 * ```
 */
export function defineProvider(name: string, options: Omit<ProviderOptions, 'name'>): Provider {
  return providerOf({ ...options, name })
}

/** The provider that was meant, checked. */
export function providerOf(given: ProviderOptions): Provider {
  return Object.freeze(parseOptions(OPTIONS, given))
}

/** How long a queue may go on with one delivery: waits between attempts, and attempts that take as long as they may. */
export interface Horizon {
  readonly queue: string
  readonly retry: RetryPolicy
  readonly timeoutMs: number
  readonly leaseMs: number
}

/** The longest time from a delivery's first attempt to the end of its last, in milliseconds. */
export function horizonMs({ retry, timeoutMs, leaseMs }: Horizon): number {
  return longestRetryMs(retry) + retry.maxAttempts * Math.max(timeoutMs, leaseMs)
}

/** Throws unless the provider remembers a key for longer than the queue repeats a delivery. */
export function requireWindow(provider: Provider, horizon: Horizon): void {
  const neededMs = horizonMs(horizon)
  if (provider.keyWindowMs <= neededMs) {
    throw new ProviderWindowTooShort(provider.name, provider.keyWindowMs, { queue: horizon.queue, neededMs })
  }
}
