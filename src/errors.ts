import { didYouMean, nearest } from './rules/nearest.ts'

/**
 * Every error Posthaste throws extends this one; `code` is literal and stable, the sentence is for people.
 *
 * ```ts
 * try {
 *   await posthaste.queue('billing').delete()
 * } catch (error) {
 *   if (error instanceof PosthasteError && error.code === 'QUEUE_NOT_EMPTY') log.info(error.message)
 *   else throw error
 * }
 * ```
 */
export abstract class PosthasteError extends Error {
  abstract readonly code: string

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

// What is published

/**
 * A message cannot be stored as it was given: `path` says where, and nothing was sent to the database.
 * The sentence names paths and kinds, never values. Correct the value at `path`; bytes go into `body`.
 */
export class InvalidMessage extends PosthasteError {
  readonly code = 'INVALID_MESSAGE'
  readonly messageType: string
  readonly path: string

  constructor(messageType: string, path: string, reason: string, options?: ErrorOptions) {
    super(`Cannot publish "${messageType}": ${path} ${reason}`, options)
    this.messageType = messageType
    this.path = path
  }
}

/**
 * Another message of this type was published with the same dedupe key and goes elsewhere or says something else. Nothing was added,
 * and the transaction is aborted. Give each thing its own key, or publish what was published.
 */
export class DedupeConflict extends PosthasteError {
  readonly code = 'DEDUPE_CONFLICT'
  readonly messageType: string

  constructor(messageType: string, options?: ErrorOptions) {
    super(`Cannot publish "${messageType}": another message was published with its dedupeKey`, options)
    this.messageType = messageType
  }
}

/**
 * Another transaction has published with the same dedupe key and has not ended within five seconds, so nobody knows yet whether this
 * one is a duplicate. Nothing was added, and the transaction is aborted. Roll back and try again.
 */
export class DedupeBusy extends PosthasteError {
  readonly code = 'DEDUPE_BUSY'
  readonly messageType: string

  constructor(messageType: string, options?: ErrorOptions) {
    super(
      `Cannot publish "${messageType}": another transaction has held its dedupeKey for five seconds; roll back and try again`,
      options,
    )
    this.messageType = messageType
  }
}

/**
 * A payload cannot be encrypted or decrypted: its key is not among the `payloadKeys` of this process, or is another one than it was
 * encrypted with. At publish nothing was sent; a delivery is dead-lettered as `key-lost`, with the id of the key. Give the process
 * the key and redrive; a key that is gone for good takes what it encrypted with it.
 */
export class KeyLost extends PosthasteError {
  readonly code = 'KEY_LOST'
  readonly messageType: string
  readonly keyId: string | undefined

  constructor(verb: 'encrypt' | 'decrypt', messageType: string, keyId: string | undefined, reason: string) {
    super(`Cannot ${verb} "${messageType}"${keyId === undefined ? '' : ` with key "${keyId}"`}: ${reason}`)
    this.messageType = messageType
    this.keyId = keyId
  }
}

/** Where a value leaves its contract, and how; `message` is cleared of the values some schema libraries quote. */
export interface ContractIssue {
  readonly path: string
  readonly message: string
}

/**
 * A payload does not fit the schema of its contract: at publish nothing was sent, at delivery the message is
 * dead-lettered as `invalid-payload`, because no retry changes it. Correct the producer, or give the contract a version and an upcaster.
 */
export class ContractViolation extends PosthasteError {
  readonly code = 'CONTRACT_VIOLATION'
  readonly contract: string
  readonly issues: readonly ContractIssue[]

  constructor(contract: string, issues: readonly ContractIssue[], options?: ErrorOptions) {
    super(`Cannot accept "${contract}": ${sentenceOf(issues)}`, options)
    this.contract = contract
    this.issues = issues
  }
}

function sentenceOf(issues: readonly ContractIssue[]): string {
  const told = issues.slice(0, 5).map(({ path, message }) => `${path}: ${message}`)
  const untold = issues.length - told.length
  return untold > 0 ? `${told.join('; ')}; and ${untold} more` : told.join('; ')
}

/**
 * A contract cannot be what it was defined as: its name, version, exchange or upcasters contradict each other.
 * Thrown by `defineMessage`, when the module is loaded. Correct the definition.
 */
export class InvalidContract extends PosthasteError {
  readonly code = 'INVALID_CONTRACT'
  readonly contract: string

  constructor(contract: string, reason: string, options?: ErrorOptions) {
    super(`Cannot define message "${contract}": ${reason}`, options)
    this.contract = contract
  }
}

/**
 * A message has a version that this process cannot read: newer than its contract, or older than its oldest upcaster.
 * Deploy consumers before producers, or add the upcaster and redrive.
 */
export class UnknownVersion extends PosthasteError {
  readonly code = 'UNKNOWN_VERSION'
  readonly contract: string
  readonly version: number
  readonly known: number

  constructor(contract: string, version: number, known: number) {
    const reason = version > known ? `this process knows version ${known}` : 'the contract has no upcaster from it'
    super(`Cannot read "${contract}" version "${version}": ${reason}`)
    this.contract = contract
    this.version = version
    this.known = known
  }
}

// Options

/** An option nobody reads, most often a typing mistake; `suggestion` is the nearest that exists. Correct or remove it. */
export class UnknownOption extends PosthasteError {
  readonly code = 'UNKNOWN_OPTION'
  readonly option: string
  readonly suggestion: string | undefined

  constructor(option: string, known: Iterable<string>) {
    const names = [...known]
    const suggestion = nearest(option, names)
    const hint = suggestion === undefined ? `known are ${names.join(', ') || 'none'}` : `did you mean "${suggestion}"?`
    super(`Unknown option "${option}": ${hint}`)
    this.option = option
    this.suggestion = suggestion
  }
}

/** An option has a value of the wrong kind or out of its range. Correct it; the guide of that option names unit and range. */
export class InvalidOption extends PosthasteError {
  readonly code = 'INVALID_OPTION'
  readonly option: string

  constructor(option: string, reason: string, options?: ErrorOptions) {
    super(`Cannot use option "${option}": ${reason}`, options)
    this.option = option
  }
}

/** A schema name that Postgres would have to quote, cut or misread. Use `[a-z_][a-z0-9_]{0,40}`. */
export class InvalidSchemaName extends PosthasteError {
  readonly code = 'INVALID_SCHEMA_NAME'
  readonly schema: string

  constructor(schema: string) {
    super(
      `Cannot use schema "${schema}": a name has lower-case letters, digits and _, begins with no digit, 41 at most`,
    )
    this.schema = schema
  }
}

// Topology

/** A topology contradicts itself: `subject` is the exchange, queue or binding that does. Thrown by `defineTopology`. */
export class InvalidTopology extends PosthasteError {
  readonly code: 'INVALID_TOPOLOGY' | 'DANGLING_EXCHANGE' = 'INVALID_TOPOLOGY'
  readonly subject: string

  constructor(subject: string, reason: string, options?: ErrorOptions) {
    super(`Cannot declare "${subject}": ${reason}`, options)
    this.subject = subject
  }
}

/** A queue takes from an exchange that the topology does not declare. Declare it under `exchanges`, or correct the name. */
export class DanglingExchange extends InvalidTopology {
  override readonly code = 'DANGLING_EXCHANGE'
  readonly exchange: string
  readonly queue: string

  constructor(exchange: string, queue: string, known: Iterable<string>) {
    super(queue, `it takes from exchange "${exchange}", which is not declared${didYouMean(exchange, known)}`)
    this.exchange = exchange
    this.queue = queue
  }
}

/**
 * Another process declared this setting with another value; nothing was changed.
 * Make both agree, or declare with `{ force: true }` to let this one win.
 */
export class TopologyConflict extends PosthasteError {
  readonly code = 'TOPOLOGY_CONFLICT'
  readonly subject: string
  readonly setting: string
  readonly declared: unknown
  readonly stored: unknown

  constructor(subject: string, setting: string, { declared, stored }: { declared: unknown; stored: unknown }) {
    super(
      `Cannot declare "${subject}": its ${setting} is ${JSON.stringify(stored)} in the database and ${JSON.stringify(declared)} here`,
    )
    this.subject = subject
    this.setting = setting
    this.declared = declared
    this.stored = stored
  }
}

/**
 * A queue that is to be deleted has deliveries or dead letters; nothing was changed. Consume or purge it first, or delete it with
 * `force` (`--force`): what it has is then purged, and counted.
 */
export class QueueNotEmpty extends PosthasteError {
  readonly code = 'QUEUE_NOT_EMPTY'
  readonly queue: string

  constructor(queue: string, reason: string, options?: ErrorOptions) {
    super(`Cannot delete "${queue}": ${reason}`, options)
    this.queue = queue
  }
}

/**
 * A message would go to a queue that has all it may have (`maxLength`, `maxBytes`) and is declared to refuse more. Nothing was sent,
 * and the transaction goes on. Publish it later, or let consumers catch up.
 */
export class QueueFull extends PosthasteError {
  readonly code = 'QUEUE_FULL'
  readonly queue: string

  constructor(queue: string, messageType: string, reason: string) {
    super(`Cannot publish "${messageType}": queue "${queue}" is full, ${reason}`)
    this.queue = queue
  }
}

/** No queue of this name is in the topology, or in the database. Correct the name, or declare the queue. */
export class UnknownQueue extends PosthasteError {
  readonly code = 'UNKNOWN_QUEUE'
  readonly queue: string

  constructor(queue: string, known: Iterable<string> = []) {
    super(`Cannot find queue "${queue}": it is not declared${didYouMean(queue, known)}`)
    this.queue = queue
  }
}

/**
 * The default exchange aside, a message went to an exchange nobody declared. Declare it, or correct the contract. That one was
 * removed is noticed within a second.
 */
export class UnknownExchange extends PosthasteError {
  readonly code = 'UNKNOWN_EXCHANGE'
  readonly exchange: string

  constructor(exchange: string, known: Iterable<string> = []) {
    super(`Cannot find exchange "${exchange}": it is not declared${didYouMean(exchange, known)}`)
    this.exchange = exchange
  }
}

/** What was asked for is not built, or the server is set to what it does not work with. The sentence says what to use instead, where there is something. */
export class NotSupported extends PosthasteError {
  readonly code = 'NOT_SUPPORTED'
  readonly feature: string

  constructor(feature: string, reason: string, options?: ErrorOptions) {
    super(`Cannot use "${feature}": ${reason}`, options)
    this.feature = feature
  }
}

/**
 * A recurring message cannot be what it was declared as: its name, cron expression, time zone or message is wrong, or it would never
 * fire. Nothing was stored. Correct what the sentence names.
 */
export class InvalidSchedule extends PosthasteError {
  readonly code = 'INVALID_SCHEDULE'
  readonly schedule: string

  constructor(schedule: string, reason: string, options?: ErrorOptions) {
    super(`Cannot schedule "${schedule}": ${reason}`, options)
    this.schedule = schedule
  }
}

/**
 * A request was not answered in time. Whoever handles it may still do so: its effects stay, its reply is counted as late and dropped.
 * Make sure that a consumer replies, or wait longer with `timeoutMs`.
 */
export class RequestTimeout extends PosthasteError {
  readonly code = 'REQUEST_TIMEOUT'
  readonly contract: string
  readonly timeoutMs: number

  constructor(contract: string, timeoutMs: number) {
    super(`Cannot get a reply to "${contract}": none came within ${timeoutMs} ms`)
    this.contract = contract
    this.timeoutMs = timeoutMs
  }
}

// Transactions

/**
 * The handle is outside a transaction: a message published there would not share the fate of your rows. Nothing was sent.
 * Pass the transaction itself: the client after BEGIN, Kysely's `tx`, not the pool or `db`.
 */
export class TransactionRequired extends PosthasteError {
  readonly code = 'TRANSACTION_REQUIRED'
  readonly handle: string

  constructor(handle: string, advice: string, options?: ErrorOptions) {
    super(`Cannot publish with "${handle}": it is not in a transaction; ${advice}`, options)
    this.handle = handle
  }
}

/** A statement of this transaction failed before, so Postgres rolls all of it back. Roll back, and begin again. */
export class TransactionAborted extends PosthasteError {
  readonly code = 'TRANSACTION_ABORTED'
  readonly handle: string

  constructor(handle: string, options?: ErrorOptions) {
    super(
      `Cannot publish with "${handle}": its transaction is aborted by an earlier error; roll back and try again`,
      options,
    )
    this.handle = handle
  }
}

/**
 * COMMIT was answered with ROLLBACK: an error inside was swallowed, and nothing of the transaction was kept.
 * Let errors of statements reach the transaction, or take a savepoint around the statement that may fail.
 */
export class TransactionRolledBack extends PosthasteError {
  readonly code = 'TRANSACTION_ROLLED_BACK'

  constructor(options?: ErrorOptions) {
    super(
      'Cannot commit "transaction": Postgres rolled it back, because a statement failed and its error was swallowed',
      options,
    )
  }
}

/**
 * The connection was cut while COMMIT was on its way: the transaction may be committed or not.
 * Publishing the same message ids again is safe: what was committed is not published twice.
 */
export class CommitUnknown extends PosthasteError {
  readonly code = 'COMMIT_UNKNOWN'

  constructor(options?: ErrorOptions) {
    super('Cannot tell the outcome of "COMMIT": the connection was lost before Postgres answered', options)
  }
}

/** A handler sent BEGIN, COMMIT or ROLLBACK over the transaction it was lent. Throw to roll back; return to commit. */
export class TransactionControlRefused extends PosthasteError {
  readonly code = 'TRANSACTION_CONTROL_REFUSED'
  readonly statement: string

  constructor(statement: string) {
    super(`Cannot run "${statement}": the transaction belongs to the delivery; throw to roll back, return to commit`)
    this.statement = statement
  }
}

/** A statement came after its transaction had ended: the attempt timed out, was stopped, or returned without waiting. Await every statement. */
export class TransactionOver extends PosthasteError {
  readonly code = 'TRANSACTION_OVER'

  constructor(options?: ErrorOptions) {
    super('Cannot run "statement": the transaction of this attempt is over', options)
  }
}

// Connections and schema

/** No connection to the database could be made; `server` is host, port and database without credentials. Check that it runs and can be reached. */
export class DatabaseUnreachable extends PosthasteError {
  readonly code = 'DATABASE_UNREACHABLE'
  readonly server: string

  constructor(server: string, reason: string, options?: ErrorOptions) {
    super(`Cannot reach "${server}": ${reason}`, options)
    this.server = server
  }
}

/** A connection that was there is lost, or was given up. What ran on it is rolled back; the machinery connects again by itself. */
export class ConnectionLost extends PosthasteError {
  readonly code = 'CONNECTION_LOST'
  readonly purpose: string

  constructor(purpose: string, reason: string, options?: ErrorOptions) {
    super(`Cannot use connection "${purpose}": ${reason}`, options)
    this.purpose = purpose
  }
}

/** Postgres did not answer within the deadline, and the connection was destroyed. Look for locks, a dead network or a stopped server. */
export class StatementTimedOut extends PosthasteError {
  readonly code = 'STATEMENT_TIMED_OUT'
  readonly timeoutMs: number

  constructor(timeoutMs: number, options?: ErrorOptions) {
    super(`Cannot finish "statement": no answer within ${timeoutMs} ms`, options)
    this.timeoutMs = timeoutMs
  }
}

/** The database has no schema of ours under this name. Run `posthaste migrate`, or correct the option `schema`. */
export class SchemaMissing extends PosthasteError {
  readonly code = 'SCHEMA_MISSING'
  readonly schema: string

  constructor(schema: string, options?: ErrorOptions) {
    super(`Cannot find schema "${schema}": run posthaste migrate`, options)
    this.schema = schema
  }
}

/** The schema lacks migrations this release needs; `pending` names them. Run `posthaste migrate`. */
export class SchemaBehind extends PosthasteError {
  readonly code = 'SCHEMA_BEHIND'
  readonly schema: string
  readonly pending: readonly string[]

  constructor(schema: string, pending: readonly string[], options?: ErrorOptions) {
    super(`Cannot use schema "${schema}": ${pending.length} migrations are pending; run posthaste migrate`, options)
    this.schema = schema
    this.pending = pending
  }
}

// Attempts

/** The lease ran out, or another consumer holds the deliveries: nothing was settled, and they are attempted again. Lengthen `leaseMs`, or extend in time. */
export class LeaseLost extends PosthasteError {
  readonly code = 'LEASE_LOST'
  readonly queue: string
  readonly lease: string

  constructor(queue: string, lease: string, options?: ErrorOptions) {
    super(`Cannot settle deliveries of "${queue}": lease ${lease} has lapsed or is held by another`, options)
    this.queue = queue
    this.lease = lease
  }
}

/**
 * At least once: the lanes of a group that this process worked on are somebody else's by now, because its lease lapsed or its session was
 * lost. What the handler did counts for nothing here: its messages are handled again.
 */
export class LaneLost extends PosthasteError {
  readonly code = 'LANE_LOST'
  readonly queue: string
  readonly group: string

  constructor(queue: string, group: string) {
    super(`Cannot settle "${queue}": the lanes of group "${group}" are another process' by now`)
    this.queue = queue
    this.group = group
  }
}

/** A group is to read a part of the log again while it is doing so already. Wait until `status` says that it is not, or `seek`. */
export class ReplayUnderWay extends PosthasteError {
  readonly code = 'REPLAY_UNDER_WAY'
  readonly queue: string
  readonly group: string

  constructor(queue: string, group: string, options?: ErrorOptions) {
    super(`Cannot replay "${queue}": group "${group}" is reading a part of it again already`, options)
    this.queue = queue
    this.group = group
  }
}

/**
 * The log was emptied before it was read that far: what came after the reader's position is not there any more. Read from a later
 * place, and keep the log for longer (`retention.outboxMs`).
 */
export class LogTrimmed extends PosthasteError {
  readonly code = 'LOG_TRIMMED'

  constructor(reason: string, options?: ErrorOptions) {
    super(`Cannot read: ${reason}`, options)
  }
}

/** No group of this name reads the stream. Correct the name; a group is made by the first consumer that names it. */
export class UnknownGroup extends PosthasteError {
  readonly code = 'UNKNOWN_GROUP'
  readonly queue: string
  readonly group: string

  constructor(queue: string, group: string, known: Iterable<string> = []) {
    super(`Cannot find group "${group}" of stream "${queue}": it is not there${didYouMean(group, known)}`)
    this.queue = queue
    this.group = group
  }
}

/**
 * A statement of the handler failed, and the handler went on as if it had not: Postgres had aborted the transaction, so nothing
 * of the attempt was kept, and it fails. Let the error reach us, or take a savepoint around the statement that may fail.
 */
export class SwallowedSqlError extends PosthasteError {
  readonly code = 'SWALLOWED_SQL_ERROR'
  readonly queue: string

  constructor(queue: string, options?: ErrorOptions) {
    super(
      `Cannot commit attempt of "${queue}": a statement failed, and its error was swallowed by the handler`,
      options,
    )
    this.queue = queue
  }
}

/** A handler made an outcome and did not return it, so its wish would have been lost: the attempt fails. Write `return delivery.retry()`. */
export class OutcomeNotReturned extends PosthasteError {
  readonly code = 'OUTCOME_NOT_RETURNED'
  readonly outcome: string

  constructor(outcome: string) {
    super(`Cannot ignore outcome "${outcome}": it was made and not returned by the handler`)
    this.outcome = outcome
  }
}

/** A handler returned an outcome made by another delivery. Return the one made by the delivery it was given. */
export class ForeignOutcome extends PosthasteError {
  readonly code = 'FOREIGN_OUTCOME'
  readonly outcome: string

  constructor(outcome: string) {
    super(`Cannot accept outcome "${outcome}": it was made by another delivery`)
    this.outcome = outcome
  }
}

/**
 * A batch handler answered with something else than nothing or a `Map` from ids of its deliveries to their outcomes. Its deliveries
 * are handed to it one by one, and fail. Return `new Map([[delivery.id, delivery.retry()]])`.
 */
export class InvalidBatchAnswer extends PosthasteError {
  readonly code = 'INVALID_BATCH_ANSWER'

  constructor(reason: string) {
    super(`Cannot take the answer of a batch handler: ${reason}`)
  }
}

/**
 * Thrown by your handler, it ends the delivery now: dead-lettered as `non-retryable`, whatever attempts were left.
 *
 * ```ts
 * if (response.status === 422) throw new NonRetryable('the bank refuses this account for good', { cause })
 * ```
 */
export class NonRetryable extends PosthasteError {
  readonly code = 'NON_RETRYABLE'
}

/** A handler took longer than `timeoutMs`: its signal was aborted, its transaction rolled back, its connection destroyed. One attempt is used. */
export class HandlerTimeout extends PosthasteError {
  readonly code = 'HANDLER_TIMEOUT'
  readonly queue: string
  readonly timeoutMs: number

  constructor(queue: string, timeoutMs: number) {
    super(`Cannot wait for handler of "${queue}": it took longer than ${timeoutMs} ms`)
    this.queue = queue
    this.timeoutMs = timeoutMs
  }
}

// Effects

/**
 * An operation was begun with another request, provider or kind, and an operation is one thing. Most often two different
 * charges were given one name, or the request holds something that changes (a time, an attempt). Give each its own name.
 * Not retried: no attempt changes it.
 */
export class EffectConflict extends PosthasteError {
  readonly code = 'EFFECT_CONFLICT'
  readonly operation: string

  constructor(operation: string) {
    super(`Cannot run operation "${operation}": it was begun with another request, provider or kind`)
    this.operation = operation
  }
}

/** Another claim of the operation has taken over: nothing is recorded. Let the transaction roll back, and run it again. */
export class EffectLost extends PosthasteError {
  readonly code = 'EFFECT_LOST'
  readonly operation: string

  constructor(operation: string) {
    super(`Cannot record operation "${operation}": another process has taken over its claim`)
    this.operation = operation
  }
}

/**
 * A handler completed its delivery while an operation it ran is unknown, or known and not recorded. The delivery would be done
 * and the operation forgotten, so the attempt fails. Return `delivery.retry()` for an unknown one, or set it aside; record a
 * known one in the transaction of `complete`.
 */
export class EffectUnsettled extends PosthasteError {
  readonly code = 'EFFECT_UNSETTLED'
  readonly operation: string

  constructor(operation: string, reason: string) {
    super(`Cannot complete delivery with operation "${operation}": ${reason}`)
    this.operation = operation
  }
}

/**
 * What the provider answered cannot be stored as JSON: too large, not JSON, or sealed without a way to open it. The operation
 * stays unknown, and is repeated with the same key. Return from `call` what you want to keep, and no more.
 */
export class EffectResponseRefused extends PosthasteError {
  readonly code = 'EFFECT_RESPONSE_REFUSED'
  readonly operation: string

  constructor(operation: string, reason: string, options?: ErrorOptions) {
    super(`Cannot store response of "${operation}": ${reason}`, options)
    this.operation = operation
  }
}

/**
 * A provider forgets keys sooner than a queue stops repeating a delivery, so that a late repetition could do it twice.
 * Shorten the queue's `retry.maxAttempts` or `retry.maxMs`, or the consumer's `timeoutMs` and `leaseMs`.
 */
export class ProviderWindowTooShort extends PosthasteError {
  readonly code = 'PROVIDER_WINDOW_TOO_SHORT'
  readonly provider: string
  readonly keyWindowMs: number
  readonly queue: string
  readonly neededMs: number

  constructor(
    provider: string,
    keyWindowMs: number,
    { queue, neededMs }: { readonly queue: string; readonly neededMs: number },
  ) {
    super(
      `Cannot use provider "${provider}" in queue "${queue}": it remembers keys for ${keyWindowMs} ms (keyWindowMs), and repeating a delivery may take ${neededMs} ms (retry.maxAttempts, retry.maxMs, and the consumer's timeoutMs and leaseMs)`,
    )
    this.provider = provider
    this.keyWindowMs = keyWindowMs
    this.queue = queue
    this.neededMs = neededMs
  }
}

/** What a person or a webhook says of an operation cannot be taken: the sentence says why. Nothing was changed. */
export class EffectNotResolved extends PosthasteError {
  readonly code = 'EFFECT_NOT_RESOLVED'
  readonly operation: string
  readonly because: string

  constructor(operation: string, because: string, reason: string) {
    super(`Cannot resolve operation "${operation}": ${reason}`)
    this.operation = operation
    this.because = because
  }
}

// Lifecycle

/** It runs already, and this can only be done before. `.on` and `.otherwise` come before `start()`. */
export class AlreadyStarted extends PosthasteError {
  readonly code = 'ALREADY_STARTED'
  readonly subject: string

  constructor(subject: string, reason = 'it has been started') {
    super(`Cannot change "${subject}": ${reason}`)
    this.subject = subject
  }
}

/** Stopped for good: make a new one. */
export class Stopped extends PosthasteError {
  readonly code = 'STOPPED'
  readonly subject: string

  constructor(subject: string) {
    super(`Cannot use "${subject}": it has been stopped`)
    this.subject = subject
  }
}

/** A consumer handles a contract that no binding can bring to its queue. Add the contract to `from` of the queue, or remove the handler. */
export class UnknownHandlerContract extends PosthasteError {
  readonly code = 'UNKNOWN_HANDLER_CONTRACT'
  readonly queue: string
  readonly contract: string

  constructor(queue: string, contract: string) {
    super(`Cannot handle "${contract}": no binding brings it to queue "${queue}"`)
    this.queue = queue
    this.contract = contract
  }
}

/** The same contract has two handlers on one consumer, and only one could run. Remove one. */
export class DuplicateHandler extends PosthasteError {
  readonly code = 'DUPLICATE_HANDLER'
  readonly queue: string
  readonly contract: string

  constructor(queue: string, contract: string) {
    super(`Cannot handle "${contract}": the consumer of "${queue}" has a handler for it`)
    this.queue = queue
    this.contract = contract
  }
}

/**
 * Processed ids would be forgotten while their messages can still be delivered, and an effect could happen twice.
 * Lengthen the inbox's retention, or shorten what the sentence names.
 */
export class RetentionTooShort extends PosthasteError {
  readonly code = 'RETENTION_TOO_SHORT'
  readonly retentionMs: number
  readonly neededMs: number

  constructor(retentionMs: number, neededMs: number, because: string) {
    super(`Cannot keep processed ids for "${retentionMs}" ms: ${because} needs ${neededMs} ms`)
    this.retentionMs = retentionMs
    this.neededMs = neededMs
  }
}

/** No event of this name came within the deadline of `until`. */
export class EventTimeout extends PosthasteError {
  readonly code = 'EVENT_TIMEOUT'
  readonly event: string
  readonly timeoutMs: number

  constructor(event: string, timeoutMs: number) {
    super(`Cannot wait for event "${event}": none came within ${timeoutMs} ms`)
    this.event = event
    this.timeoutMs = timeoutMs
  }
}

/** A package that you bring yourself is not installed. The sentence ends with the line that installs it. */
export class PeerMissing extends PosthasteError {
  readonly code = 'PEER_MISSING'
  readonly peer: string

  constructor(peer: string, options?: ErrorOptions) {
    super(`Cannot find package "${peer}": install it with: npm install ${peer}`, options)
    this.peer = peer
  }
}
