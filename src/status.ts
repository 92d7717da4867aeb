import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { type EffectAttention, effectAttention } from './postgres/effects.ts'
import {
  appliedMigrations,
  type Partition,
  partitions,
  type QueueStatus,
  queueStatus,
  type RelayStatus,
  relayStatus,
} from './postgres/status.ts'
import { type GroupStatus, groupStatus } from './postgres/streams.ts'

export type { Partition, Paused, QueueStatus, Rates, RelayStatus } from './postgres/status.ts'

/** How everything stands: the first thing to look at. */
export interface Status {
  readonly schema: { readonly name: string; readonly migrations: readonly string[] }
  readonly relay: RelayStatus
  readonly queues: readonly QueueStatus[]
  /** Operations of the effect ledger that want somebody: `posthaste.effects.list()` names them. */
  readonly effects: EffectAttention
  readonly partitions: readonly Partition[]
  /** The groups that read streams. */
  readonly groups: readonly GroupStatus[]
}

/** Cheap enough to be asked for every few seconds; its parts are read one after the other, not in one snapshot. */
export async function status(context: Context): Promise<Status> {
  const { tables } = context
  const migrations = await ask(context, appliedMigrations(tables))
  const [relay] = await ask(context, relayStatus(tables))
  const [effects] = await ask(context, effectAttention(tables))
  return {
    schema: { name: tables.schema, migrations },
    relay: relay!,
    queues: await ask(context, queueStatus(tables, null)),
    effects: effects!,
    partitions: await ask(context, partitions(tables)),
    groups: await ask(context, groupStatus(tables, null, null)),
  }
}
