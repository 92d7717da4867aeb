// Posthaste: a transactional outbox and a message queue in your Postgres.

// Operating.
export type { Audit, ExchangeAccount, QueueAccount } from './audit.ts'
export type { AtLeastOnceContext, AtMostOnceContext, ExactlyOnceContext, Guarantee } from './consumer/context.ts'
// Consuming: what a handler gets, and what it may answer.
export type { Drained } from './consumer/draining.ts'
export type { BatchHandler, Consumer, ConsumerOptions, Handler, OnError } from './consumer.ts'
// Your way to Postgres.
export type { Database } from './database.ts'
export { type KyselyDatabaseOptions, kyselyDatabase } from './databases/kysely.ts'
export { type PgDatabaseOptions, pgDatabase } from './databases/pg.ts'
export type {
  DeadLetter,
  DeadLetterFilter,
  DeadLetterSelection,
  DeadLetters,
  Purged,
  Redriven,
  WholeDeadLetter,
} from './dead-letters.ts'
// Effects: calls to the outside, once.
export {
  type DeclinedEffect,
  defineProvider,
  type Effect,
  type EffectAccount,
  type EffectAttention,
  type EffectBodies,
  type EffectCall,
  type EffectFilter,
  type EffectInReview,
  type EffectKind,
  type EffectOutcome,
  type EffectState,
  type Effects,
  type EffectWant,
  type Failed,
  type LedgerAttempt,
  type LedgerEntry,
  type LedgerHistory,
  type OutcomeElsewhere,
  type Provider,
  type ProviderOptions,
  type Recorded,
  type RecordedElsewhere,
  type RecordOutcome,
  type Repeatable,
  type Resolution,
  type RunOptions,
  type SucceededEffect,
  type Unanswered,
  type UndoneEffect,
  type UnknownEffect,
} from './effects.ts'
// Errors: every one has a code.
export * from './errors.ts'
// Events: the one way the machinery speaks.
export type { EventName, Events, Logger } from './events.ts'
export type { Inbox, Once } from './inbox.ts'
export type { Act, JournalOptions } from './journal.ts'
export type { Published } from './outbox.ts'
export {
  type MigrateOptions,
  type MigrationState,
  migrate,
  migrationState,
  printMigrations,
} from './postgres/migrate.ts'
// The facade: options in, nouns out.
export { Posthaste, type PosthasteOptions, type StartOptions, type StopOptions } from './posthaste.ts'
export type { DeliveriesOptions, PulledDelivery, ReceiveOptions } from './queue/pull.ts'
export type { DeleteOptions, DrainOptions, PauseOptions, PeekedDelivery, Queue } from './queue.ts'
export type { RelayOptions } from './relay.ts'
export type { RequestOptions } from './requests.ts'
// The command line's configuration file.
export { type Config, defineConfig } from './rules/config.ts'
// Messages: contracts are values that producers and consumers import.
export {
  type AnyContract,
  type Contract,
  type ContractOptions,
  defineMessage,
  type InputOf,
  type PayloadOf,
  type RequestContract,
} from './rules/contract.ts'
export type { Delivery } from './rules/delivery.ts'
export type { Message, PublishOptions, RawMessage } from './rules/message.ts'
export type { Outcome } from './rules/outcome.ts'
export type { RetryPolicy } from './rules/retry.ts'
export type { MissedTicks } from './rules/schedule.ts'
// Topology: exchanges, queues, and what comes to each.
export {
  type BindingDefinition,
  defineTopology,
  type QueueDefinition,
  type Topology,
  type TopologyDefinition,
} from './rules/topology.ts'
export type { ScheduleOptions, Schedules, StoredSchedule } from './schedules.ts'
export type { Paused, QueueStatus, Status } from './status.ts'
export type { DeclareOptions, StoredTopology, TopologyDiff } from './topology.ts'
export type { Trace, TracedDelivery, TracedMessage, TraceOptions } from './trace.ts'
export type { AnyTransaction } from './transaction-handle.ts'
