import { PosthasteError } from '../errors.ts'

/**
 * What is kept of an error: in the history of a delivery, in events and in logs. It carries no stack, no cause, none of the
 * fields in which Postgres repeats rows (detail, where, hint, query, parameters), and runs of 12 digits and more are masked.
 */
export interface ErrorSummary {
  readonly name: string
  readonly message: string
  /** SQLSTATE, a Node code such as `ECONNRESET`, or a Posthaste code. */
  readonly code?: string
  readonly constraint?: string
  readonly table?: string
}

/** A failed attempt, as the history of a delivery keeps it. */
export interface AttemptError extends ErrorSummary {
  readonly attempt: number
  /** ISO 8601, by the database's clock. */
  readonly at: string
}

const MESSAGE_CHARACTERS = 500
const NAME_CHARACTERS = 100
const READ_CHARACTERS = 4_000
const CAUSES = 8

const CARD_NUMBER = /\p{Nd}(?:[\s\u00ad\u200b\u2010-\u2015-]?\p{Nd}){11,}/gu
const CUT_DIGITS = /[\p{Nd}\s\u00ad\u200b\u2010-\u2015-]+$/u
// P2034 is what Prisma makes of the first two.
const TRANSIENT = new Set(['40001', '40P01', '55P03', 'P2034'])
const LOST = new Set([
  'CONNECTION_LOST',
  'DATABASE_UNREACHABLE',
  '57P01',
  '57P02',
  '57P03',
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
])
const LOST_WORDS =
  /(?:^| - )(Connection terminated|Client has encountered a connection error|Client was closed|timeout exceeded when trying to connect)/
const FINAL = new Set(['NON_RETRYABLE', 'CONTRACT_VIOLATION', 'UNKNOWN_VERSION', 'EFFECT_CONFLICT'])

/** Summarises whatever was thrown, and never throws itself: not for undefined, a Proxy, or a getter that throws. */
export function summarise(thrown: unknown): ErrorSummary {
  const error = chain(thrown).find((link) => isOurs(link) || isOfPostgres(link)) ?? thrown
  const code = wordOf(error, 'code')
  const constraint = wordOf(error, 'constraint')
  const table = wordOf(error, 'table')
  return {
    name: wordOf(error, 'name') ?? kindOf(error),
    message: messageOf(error),
    ...(code !== undefined && { code }),
    ...(constraint !== undefined && { constraint }),
    ...(table !== undefined && { table }),
  }
}

/** Text that may be stored and shown: whole characters, no NUL, runs of 12 digits and more masked, cut at 500 characters. */
export function presentable(text: string, characters: number = MESSAGE_CHARACTERS): string {
  const whole = text.length > READ_CHARACTERS ? beginningOf(text) : text
  const clean = whole.replaceAll('\0', '\ufffd').replaceAll(CARD_NUMBER, '[digits]')
  return clean.slice(0, characters).toWellFormed()
}

/** A cut may leave the first digits of a card number, too few to be masked: they go too. */
function beginningOf(text: string): string {
  return text.slice(0, READ_CHARACTERS).replace(CUT_DIGITS, '')
}

/** False for errors that no further attempt can change: `NonRetryable`, payloads that do not fit their contract, operations that do not fit their name. */
export function isRetryable(error: unknown): boolean {
  return !FINAL.has(String(codeOf(error)))
}

/** A deadlock, a serialization failure or a lock timeout, also wrapped as a cause: the transaction is worth another try as it is. */
export function isTransient(error: unknown): boolean {
  return chain(error).some((link) => TRANSIENT.has(codeOf(link) ?? ''))
}

/**
 * The connection to Postgres is gone. Ask it about errors of our own statements only: a handler's call to a service of its
 * own fails with the same codes.
 */
export function isConnectionLoss(error: unknown): boolean {
  return chain(error).some((link) => isLost(codeOf(link)) || LOST_WORDS.test(textOf(link, 'message') ?? ''))
}

/** in_failed_sql_transaction: an earlier error has aborted the transaction. */
export function isAborted(error: unknown): boolean {
  return hasCode(error, '25P02')
}

/** Does the error, or a cause of it, carry this code? */
export function hasCode(error: unknown, code: string): boolean {
  return chain(error).some((link) => codeOf(link) === code)
}

function isLost(code: string | undefined): boolean {
  return code !== undefined && (LOST.has(code) || /^08...$/.test(code))
}

/** What we say of an error says more than the error that made us say it. */
function isOurs(error: unknown): boolean {
  try {
    return error instanceof PosthasteError
  } catch {
    return false
  }
}

/** What Postgres said; the libraries that wrap it put their statement and its parameters in front. */
function isOfPostgres(error: unknown): boolean {
  return textOf(error, 'severity') !== undefined && /^[0-9A-Z]{5}$/.test(codeOf(error) ?? '')
}

// Knex writes its statement, values and all, before the message of the very error that Postgres sent.
const STATEMENT = /^\s*(?:select|insert|update|delete|with|merge|begin|commit|rollback|savepoint|release)\b[\s\S]* - /i

function messageOf(error: unknown): string {
  if (typeof error === 'string' && error !== '') return presentable(error)
  const message = textOf(error, 'message')
  if (message) return presentable(isOfPostgres(error) ? message.replace(STATEMENT, '') : message)
  // Node reports a refused connection to `localhost` as an AggregateError without a message of its own.
  const first = textOf(read(read(error, 'errors'), 0), 'message')
  return first ? presentable(first) : `${kindOf(error)} was thrown, without a message`
}

function kindOf(error: unknown): string {
  if (error === null) return 'null'
  if (typeof error !== 'object') return typeof error
  return isError(error) ? 'Error' : 'object'
}

function isError(error: object): boolean {
  try {
    return error instanceof Error
  } catch {
    return false
  }
}

function codeOf(error: unknown): string | undefined {
  // Bun has a code of its own for all that Postgres refuses.
  if (textOf(error, 'code') === 'ERR_POSTGRES_SERVER_ERROR') return textOf(error, 'errno')
  return textOf(error, 'code') ?? textOf(read(read(error, 'errors'), 0), 'code')
}

function wordOf(error: unknown, key: string): string | undefined {
  const text = key === 'code' ? codeOf(error) : textOf(error, key)
  return text ? presentable(text, NAME_CHARACTERS) : undefined
}

function textOf(error: unknown, key: string): string | undefined {
  const value = read(error, key)
  return typeof value === 'string' ? value : undefined
}

function read(value: unknown, key: string | number): unknown {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return undefined
  try {
    return (value as Record<string | number, unknown>)[key]
  } catch {
    return undefined
  }
}

function chain(error: unknown): unknown[] {
  const links = [error]
  for (let cause = causeOf(error); cause !== undefined && links.length < CAUSES; cause = causeOf(cause)) {
    links.push(cause)
  }
  return links
}

// Sequelize calls the driver's error `parent`; Prisma's is in `meta`.
function causeOf(error: unknown): unknown {
  return read(error, 'cause') ?? read(error, 'parent') ?? read(read(error, 'meta'), 'driverAdapterError')
}
