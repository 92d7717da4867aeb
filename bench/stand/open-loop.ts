import { pause } from './load.ts'

/** One that was sent: when it should have been, from the start, and how long it took from then on, both in milliseconds. */
export interface Sent {
  readonly at: number
  readonly tookMs: number
}

/** Sends at a steady rate, whether answers come or not; what waits for its turn has begun when it should have. */
export async function openLoop(
  { perSecond, seconds }: { readonly perSecond: number; readonly seconds: number },
  step: (n: number) => Promise<unknown>,
): Promise<Sent[]> {
  const startedAt = performance.now()
  const total = Math.round(perSecond * seconds)
  const sent: Sent[] = []
  const running: Promise<void>[] = []
  for (let n = 0; n < total; n += 1) {
    const at = (n * 1_000) / perSecond
    const early = startedAt + at - performance.now()
    if (early > 0) await pause(early)
    running.push(
      step(n).then(() => {
        sent.push({ at, tookMs: performance.now() - startedAt - at })
      }),
    )
  }
  await Promise.all(running)
  return sent
}
