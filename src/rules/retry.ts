import { isRetryable } from './error-summary.ts'

/** When a failed attempt is repeated, and how often. */
export interface RetryPolicy {
  /** Attempts in all, the first one included; 1 means never again. 1 to 1,000. @default 10, or one more than `delaysMs` has */
  readonly maxAttempts: number
  /**
   * How the delay grows from attempt to attempt: `exponential` by `factor`, `linear` by `minMs`, `fixed` not at all, `list` as
   * `delaysMs` says. @default 'exponential', or 'list' when there are delaysMs
   */
  readonly strategy?: 'exponential' | 'linear' | 'fixed' | 'list'
  /** Milliseconds before the second attempt, at least. @default 1_000 */
  readonly minMs: number
  /** Milliseconds before any attempt, at most. @default 300_000 */
  readonly maxMs: number
  /** By how much an exponential delay grows, 1 or more. @default 2 */
  readonly factor: number
  /**
   * How the delay varies, so that what failed together is not repeated together: `full` takes any from `minMs` (of a list: from its
   * own delay) to the delay of the attempt after, `none` takes the delay itself. @default 'full'; 'none' for fixed and list
   */
  readonly jitter: 'full' | 'none'
  /** The delays of a list, in milliseconds; the last one holds for all that follow. Excludes the others but `maxAttempts` and `jitter`. */
  readonly delaysMs?: readonly number[]
}

export const DEFAULT_RETRY: RetryPolicy = Object.freeze({
  maxAttempts: 10,
  strategy: 'exponential',
  minMs: 1_000,
  maxMs: 300_000,
  factor: 2,
  jitter: 'full',
})

export const MOST_ATTEMPTS = 1_000

/** What becomes of a delivery whose attempt failed. */
export type AfterFailure =
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'dead-letter'; readonly reason: 'max-attempts' | 'non-retryable' }

export interface Failure {
  /** What was thrown; errors that no attempt can change end the delivery. @default unknown, so retried */
  readonly error?: unknown
  /** What the handler asked for. @default what the policy says */
  readonly delayMs?: number | undefined
  /** From 0 to 1, as `Math.random` gives it. @default Math.random */
  readonly random?: () => number
}

/** The whole milliseconds to wait after attempt number `attempt` (1-based): at least 1 and `minMs`, at most `maxMs`, whatever the number. */
export function delayAfter(policy: RetryPolicy, attempt: number, random: () => number = Math.random): number {
  const [least, most] = boundsOf(policy)
  const delay = grown(policy, attempt - 1)
  if (policy.jitter === 'none') return delay
  const floor = policy.strategy === 'list' ? delay : least
  const ceiling = Math.max(floor, grown(policy, attempt))
  return Math.min(most, Math.max(least, Math.round(floor + fraction(random()) * (ceiling - floor))))
}

/** What follows a failed attempt: `attempts` counts it already. */
export function afterFailure(policy: RetryPolicy, attempts: number, failure: Failure = {}): AfterFailure {
  if ('error' in failure && !isRetryable(failure.error)) return { kind: 'dead-letter', reason: 'non-retryable' }
  if (!(attempts < policy.maxAttempts)) return { kind: 'dead-letter', reason: 'max-attempts' }
  return { kind: 'retry', delayMs: failure.delayMs ?? delayAfter(policy, attempts, failure.random) }
}

/** The longest a delivery may be under way between its attempts, in milliseconds: what the inbox must outlive. */
export function longestRetryMs(policy: RetryPolicy): number {
  let total = 0
  for (let attempt = 1; attempt < policy.maxAttempts; attempt += 1) total += delayAfter(policy, attempt, () => 1)
  return total
}

function grown(policy: RetryPolicy, times: number): number {
  const [least, most] = boundsOf(policy)
  const delay = unbounded(policy, least, Math.max(0, times))
  return Number.isFinite(delay) ? Math.max(least, Math.min(most, Math.round(delay))) : most
}

function unbounded({ strategy, factor, delaysMs = [] }: RetryPolicy, least: number, times: number): number {
  if (strategy === 'fixed') return least
  if (strategy === 'linear') return least * (times + 1)
  if (strategy === 'list') return delaysMs[Math.min(times, delaysMs.length - 1)] ?? least
  return least * Math.max(1, factor) ** times
}

function boundsOf({ strategy, delaysMs = [], minMs, maxMs }: RetryPolicy): readonly [number, number] {
  const [low, high] = strategy === 'list' ? [Math.min(...delaysMs), Math.max(...delaysMs)] : [minMs, maxMs]
  const least = Math.max(1, Math.round(low))
  return [least, Math.max(least, Math.round(high))]
}

function fraction(random: number): number {
  return random >= 0 && random <= 1 ? random : 0
}
