/**
 * A transactional outbox and a message queue in your Postgres: publish in your transactions, consume with exactly-once effects.
 *
 * @module posthaste
 */

// Operating.
export type { Audit, ExchangeAccount, QueueAccount } from './audit.ts'
export type {
  AtLeastOnceContext,
  AtMostOnceContext,
  BatchContextOf,
  ContextOf,
  ExactlyOnceContext,
  Guarantee,
  PublishInAttempt,
} from './consumer/context.ts'
// Consuming: what a handler gets, and what it may answer.
export type { Drained } from './consumer/draining.ts'
export type { Answer, BatchAnswer } from './consumer/handlers.ts'
export type { BatchHandler, Consumer, ConsumerOptions, Handler, OnError } from './consumer.ts'
// Your way to Postgres.
export type { Database, TransactionOptions } from './database.ts'
export { type KyselyDatabaseOptions, kyselyDatabase } from './databases/kysely.ts'
export { type PgDatabaseOptions, pgDatabase } from './databases/pg.ts'
export type {
  DeadLetter,
  DeadLetterFilter,
  DeadLetterSelection,
  DeadLetters,
  ListOptions,
  Purged,
  PurgeOptions,
  Redriven,
  RedriveOptions,
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
export type { Erased, EraseOptions } from './erasure.ts'
// Errors: every one has a code.
export * from './errors.ts'
// Events: the one way the machinery speaks.
export type { Attempted, EventName, Events, Listener, Logger, UntilOptions } from './events.ts'
export { type HasHealth, type Health, healthHandler, type ProbeRequest, type ProbeResponse } from './health.ts'
export type { Inbox, Once } from './inbox.ts'
export type { Act, JournalOptions } from './journal.ts'
export type { Publishable, Published } from './outbox.ts'
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
export type { DeleteOptions, DrainOptions, PauseOptions, PeekedDelivery, PeekOptions, Queue } from './queue.ts'
export type { Retention } from './relay/upkeep.ts'
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
export type { AttemptError, Delivery, DeliveryFacts, MessageFacts } from './rules/delivery.ts'
export type { EncryptionOf, PayloadKey, PayloadKeys } from './rules/encryption.ts'
export type { ErrorSummary } from './rules/error-summary.ts'
export type { BreakerRule, FlowSettings, RateLimit } from './rules/flow.ts'
export type {
  BytesContent,
  Headers,
  JsonContent,
  Message,
  PublishOptions,
  RawEnvelope,
  RawMessage,
} from './rules/message.ts'
export type {
  DeadLetterOutcome,
  DeadLetterReason,
  DiscardOutcome,
  Outcome,
  PauseOutcome,
  PauseRequest,
  RetryOutcome,
  RetryRequest,
} from './rules/outcome.ts'
export type { RetryPolicy } from './rules/retry.ts'
export type { Binding, ExchangeKind, HeaderValue } from './rules/route.ts'
export type { MissedTicks } from './rules/schedule.ts'
// Topology: exchanges, queues, and what comes to each.
export {
  type BindingDefinition,
  type DeadLetterRoute,
  defineTopology,
  type ExchangeSettings,
  type NewerVersions,
  type QueueDefinition,
  type QueueSettings,
  type StreamSettings,
  type Topology,
  type TopologyDefinition,
} from './rules/topology.ts'
export type { Upcasters } from './rules/upcast.ts'
export type { MessageLimits } from './rules/validate.ts'
export { type Fault, type FaultKind, type HandledLine, type HandledRecord, handledRecord } from './rules/verify.ts'
export type { ScheduleOptions, Schedules, StoredSchedule } from './schedules.ts'
export type { Partition, Paused, QueueStatus, Rates, RelayStatus, Status } from './status.ts'
export type { GroupVerdict, Verdict, VerifyOptions } from './stream/verify.ts'
export type {
  Counted,
  From,
  Group,
  GroupPauseOptions,
  GroupStatus,
  ParkedKey,
  ParkedOptions,
  ReadOptions,
  ReplayOptions,
  SeekOptions,
  Stream,
} from './stream.ts'
export type {
  DeclareOptions,
  StoredBinding,
  StoredContract,
  StoredExchange,
  StoredQueue,
  StoredTopology,
  TopologyDiff,
} from './topology.ts'
export type { Trace, TracedDelivery, TracedEffect, TracedMessage, TraceOptions } from './trace.ts'
export type { AnyTransaction } from './transaction-handle.ts'
