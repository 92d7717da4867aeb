import type pg from 'pg'

export interface LoadOptions {
  readonly warmUpMs: number
  readonly measureMs: number
}

/** How often per second `step` ends while every client does one after the other without a pause. */
export async function closedLoop(
  clients: readonly pg.PoolClient[],
  { warmUpMs, measureMs }: LoadOptions,
  step: (client: pg.PoolClient) => Promise<unknown>,
): Promise<number> {
  const from = performance.now() + warmUpMs
  const to = from + measureMs
  let steps = 0
  const loop = async (client: pg.PoolClient) => {
    for (;;) {
      await step(client)
      const now = performance.now()
      if (now >= to) return
      if (now >= from) steps += 1
    }
  }
  await Promise.all(clients.map(loop))
  return (steps * 1_000) / measureMs
}

/** Rejects when the condition is not met in time. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  { timeoutMs = 20_000, everyMs = 20 } = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Cannot go on: not within ${timeoutMs} ms: ${what}`)
    await pause(everyMs)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
