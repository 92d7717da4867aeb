import { z } from 'zod'
import { InvalidTopology } from '../errors.ts'
import { milliseconds, wholeNumber } from './options.ts'

/** How the deliveries of a queue flow. Stored with the queue, so that every process and every language obeys it. */
export interface FlowSettings {
  /**
   * How long a delivery may wait and be retried, in milliseconds from its publishing, or from the time it was delayed to; then it
   * expires when it is claimed. A message's own `expiresInMs` may end it sooner. @default for ever
   */
  readonly ttlMs?: number
  /** What becomes of a delivery that has expired: counted and gone, or a dead letter `expired`. @default 'drop' */
  readonly expired?: 'drop' | 'dead-letter'
  /**
   * How many bytes of payloads one claim or lease brings at most, and a consumer holds in hand; one message is always brought,
   * however large. 1,024 to 1 GB. @default 16_777_216
   */
  readonly maxBatchBytes?: number
}

export const DEFAULT_BATCH_BYTES = 16_777_216

/** The fields of a queue's definition that say how it flows. */
export const FLOW = {
  ttlMs: milliseconds(1).optional(),
  expired: z.enum(['drop', 'dead-letter']).optional(),
  maxBatchBytes: wholeNumber(1_024, 1_073_741_824).optional(),
}

const FIELDS = Object.keys(FLOW) as (keyof FlowSettings)[]

/** What of a definition is said about the flow; undefined for a plain queue. Contradictions are an `InvalidTopology`. */
export function flowOf(queue: string, given: FlowSettings): FlowSettings | undefined {
  const problem = contradiction(given)
  if (problem !== undefined) throw new InvalidTopology(queue, problem)
  const said = FIELDS.filter((field) => given[field] !== undefined)
  return said.length === 0 ? undefined : Object.fromEntries(said.map((field) => [field, given[field]]))
}

/** Each field, null where nothing is said: to be compared. */
export function everyField(flow: FlowSettings | undefined): Record<string, unknown> {
  return Object.fromEntries(FIELDS.map((field) => [field, flow?.[field] ?? null]))
}

function contradiction(_: FlowSettings): string | undefined {
  return undefined
}
