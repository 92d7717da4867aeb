import { giveTokens, takeTokens } from '../postgres/claim.ts'
import { run } from '../postgres/queryable.ts'
import type { Seat } from './seat.ts'

/** What a claim may take by the rate limit of its queue; where there is none, what it wants. */
export interface Allowance {
  readonly granted: number
  /** When there will be more, if nothing is granted. */
  readonly waitMs: number | undefined
  /** Gives back what was not claimed. */
  spent(claimed: number): Promise<void>
}

/** Asks for the right to claim so many: committed at once, so that every process counts it, whatever becomes of the claim. */
export async function allowanceOf<Tx>(seat: Seat<Tx>, wanted: number): Promise<Allowance> {
  if (!seat.flow.rated) return { granted: wanted, waitMs: undefined, spent: async () => {} }
  const { context, number: queue } = seat
  const [tokens] = await run(context.database, takeTokens(context.tables, { queue, wanted }))
  const { granted, at, waitMs } = tokens!
  const spent = async (claimed: number) => {
    const unspent = granted - claimed
    if (at !== null && unspent > 0) await run(context.database, giveTokens(context.tables, { queue, at, unspent }))
  }
  return { granted, waitMs: granted === 0 ? (waitMs ?? 0) : undefined, spent }
}
