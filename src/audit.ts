import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { audit as accounts, type ExchangeAccount, type QueueAccount } from './postgres/audit.ts'

export type { ExchangeAccount, QueueAccount } from './postgres/audit.ts'

/** Where every message is. `difference` is 0, always, also while everything runs. */
export interface Audit {
  readonly queues: readonly QueueAccount[]
  readonly exchanges: readonly ExchangeAccount[]
  /** The differences of all queues and exchanges, each without its sign, in one sum: they cannot make up for each other. */
  readonly difference: number
}

/**
 * The account of every message, in one snapshot. What waits is counted row by row, which on a long queue takes a moment;
 * what has ended comes from the counts.
 */
export async function audit(context: Context): Promise<Audit> {
  const rows = await ask(context, accounts(context.tables))
  return {
    queues: rows.filter((row): row is QueueAccount => 'queue' in row),
    exchanges: rows.filter((row): row is ExchangeAccount => 'exchange' in row),
    difference: rows.reduce((sum, { difference }) => sum + Math.abs(difference), 0),
  }
}
