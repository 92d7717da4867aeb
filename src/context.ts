import type { Database } from './database.ts'
import type { EventBus } from './events.ts'
import type { Listener } from './postgres/listener.ts'
import type { Tables } from './postgres/tables.ts'
import type { Keyring } from './rules/encryption.ts'

/** What the nouns of one Posthaste share: where the data is, and whom to tell. */
export interface Context<Tx = unknown> {
  readonly database: Database<Tx>
  readonly tables: Tables
  readonly events: EventBus
  /** The one LISTEN connection of the process. */
  readonly listener: Listener
  /** A direct connection string for sessions, when the pool goes through a pooler. */
  readonly listenUrl?: string
  /** The keys that payloads are encrypted with. */
  readonly keys?: Keyring | undefined
  /** Tells this process apart from every other, in leases and in logs. */
  readonly instance: string
}
