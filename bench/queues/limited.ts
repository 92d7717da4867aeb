import { z } from 'zod'
import { defineMessage, defineTopology } from '../../src/index.ts'

export const LIMITS = {
  maxConcurrency: 5,
  maxConcurrencyPerKey: 2,
  rateLimit: { messages: 400, perMs: 1_000 },
} as const

export const Job = defineMessage('job', z.object({ tenant: z.string() }), { key: ({ tenant }) => tenant })
export const limited = defineTopology({ queues: { jobs: { from: [Job], ...LIMITS } } })

/** What a process tells of an attempt: times are of the machine's monotonic clock. */
export interface Attempted {
  readonly key: string
  readonly from: number
  readonly to: number
}
