import { StatementTimedOut } from '../errors.ts'

export interface Wait {
  /**
   * Whether it keeps its process alive. A wait for a connection does not: a pool that ends forgets who waits for one, and what it
   * opens holds the process by itself. @default true
   */
  readonly holds?: boolean
}

/** The answer, or a `StatementTimedOut` once it is due; `null` waits for as long as it takes. An answer that comes later is dropped. */
export async function answerWithin<Answer>(
  timeoutMs: number | null,
  answer: Promise<Answer>,
  onExpiry?: (error: StatementTimedOut) => void,
  { holds = true }: Wait = {},
): Promise<Answer> {
  if (timeoutMs === null) return answer
  const { promise: expiry, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    const error = new StatementTimedOut(timeoutMs)
    reject(error)
    onExpiry?.(error)
  }, timeoutMs)
  if (!holds) timer.unref()
  try {
    return await Promise.race([answer, expiry])
  } finally {
    clearTimeout(timer)
  }
}
