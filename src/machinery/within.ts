import { setTimeout as sleep } from 'node:timers/promises'

/** Whether it came to its end in time; what it throws is not our business, and no timer is left. */
export async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const expiry = new AbortController()
  const late = sleep(Math.max(0, ms), false, { signal: expiry.signal }).catch(() => false)
  try {
    return await Promise.race([work.then(() => true).catch(() => true), late])
  } finally {
    expiry.abort()
  }
}
