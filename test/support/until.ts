export interface UntilOptions {
  readonly timeoutMs?: number
  /** What is waited for, for the error. */
  readonly what?: string
}

/** Resolves with the condition's first truthy answer; rejects when there was none in time. */
export async function until<Value>(
  condition: () => Value | Promise<Value>,
  { timeoutMs = 10_000, what = condition.toString() }: UntilOptions = {},
): Promise<NonNullable<Value>> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const value = await condition()
    if (value) return value
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
