import { StatementTimedOut } from '../errors.ts'

/** The answer, or a `StatementTimedOut` once it is due; `null` waits for as long as it takes. An answer that comes later is dropped. */
export async function answerWithin<Answer>(
  timeoutMs: number | null,
  answer: Promise<Answer>,
  onExpiry?: (error: StatementTimedOut) => void,
): Promise<Answer> {
  if (timeoutMs === null) return answer
  const { promise: expiry, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    const error = new StatementTimedOut(timeoutMs)
    reject(error)
    onExpiry?.(error)
  }, timeoutMs)
  try {
    return await Promise.race([answer, expiry])
  } finally {
    clearTimeout(timer)
  }
}
