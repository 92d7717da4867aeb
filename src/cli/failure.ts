import { CommanderError } from '@commander-js/extra-typings'
import { PosthasteError } from '../errors.ts'
import { summarise } from '../rules/error-summary.ts'
import { jsonLine } from './output.ts'
import { eraseProgress } from './progress.ts'
import { type Target, UNNAMED } from './target.ts'

/** The command line was wrong: exit code 2. */
export class UsageFailure extends Error {
  readonly code = 'USAGE'
}

/** What was asked for cannot be had: exit code 1. */
export class Failure extends Error {
  readonly code = 'FAILURE'
}

/** A command did its work and has bad news, which it has told: there is an exit code, and nothing more to say. */
export class BadNews extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** Somebody stopped it: exit code 130. What it says tells what that left behind. */
export class Interrupted extends Error {
  readonly code = 'INTERRUPTED'

  constructor(left: string) {
    super(`Interrupted: ${left}`)
  }
}

/** There is no way to the database: exit code 3. */
export class Unreachable extends Error {
  readonly code = 'DATABASE_UNREACHABLE'
  readonly target: Target
  readonly causes: readonly string[]

  constructor(target: Target, cause: unknown) {
    super(`Cannot reach "${target.host}:${target.port}": ${reasonOf(cause)}`, { cause })
    this.target = target
    this.causes = likelyCauses(cause, target)
  }
}

/** Tells of a failure on standard error, in a sentence or as one JSON object; returns the exit code. */
export function report(error: unknown, args: readonly string[]): number {
  const exitCode = exitCodeOf(error)
  if (exitCode === 0 || error instanceof BadNews) return exitCode
  eraseProgress()
  process.stderr.write(`${args.includes('--json') ? asJson(error) : asText(error, args)}\n`)
  if (process.env.POSTHASTE_DEBUG) console.error(error)
  return exitCode
}

const USAGE = new Set(['USAGE', 'INVALID_OPTION', 'UNKNOWN_OPTION', 'INVALID_SCHEMA_NAME', 'INVALID_MESSAGE'])
const SCHEMA = new Set(['SCHEMA_MISSING', 'SCHEMA_BEHIND'])

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof BadNews) return error.exitCode
  const code = codeOf(error)
  if (USAGE.has(code)) return 2
  if (code === 'DATABASE_UNREACHABLE') return 3
  if (SCHEMA.has(code)) return 4
  if (error instanceof Interrupted) return 130
  return 1
}

function asText(error: unknown, args: readonly string[]): string {
  if (error instanceof Unreachable) return unreachableText(error)
  if (exitCodeOf(error) !== 2) return sentenceOf(error)
  return `${sentenceOf(error)}\nTry: ${['posthaste', ...known(leading(args), error), '--help'].join(' ')}`
}

function asJson(error: unknown): string {
  const facts = error instanceof Unreachable ? { ...error.target, causes: error.causes } : {}
  return jsonLine({ error: { code: codeOf(error), message: sentenceOf(error), ...facts } })
}

function sentenceOf(error: unknown): string {
  if (error instanceof CommanderError) return commanderSentence(error)
  const ours = [PosthasteError, UsageFailure, Failure, Interrupted, Unreachable].some((kind) => error instanceof kind)
  return ours ? (error as Error).message : `Cannot go on: ${summarise(error).message || summarise(error).name}`
}

function commanderSentence({ code, message }: CommanderError): string {
  if (code === 'commander.help') return 'No command was given'
  const [first = '', ...rest] = message.replace(/^error: /, '').split('\n')
  return [first.charAt(0).toUpperCase() + first.slice(1), ...rest].join('\n')
}

function codeOf(error: unknown): string {
  if (error instanceof CommanderError) return 'USAGE'
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : 'FAILURE'
}

// The words before the first option: the command the usage is about.
function leading(args: readonly string[]): string[] {
  const first = args.findIndex((word) => word.startsWith('-'))
  return args.slice(0, first === -1 ? 2 : Math.min(first, 2)).filter((word) => /^[a-z]+$/.test(word))
}

function known(words: readonly string[], error: unknown): readonly string[] {
  if (!(error instanceof CommanderError) || error.code !== 'commander.unknownCommand') return words
  return words.filter((word) => !error.message.includes(`'${word}'`))
}

function unreachableText({ message, target, causes }: Unreachable): string {
  const { host, port, user, database, from } = target
  return [
    message,
    '',
    `  host      ${host}`,
    `  port      ${port}`,
    `  user      ${user || '(none)'}`,
    `  database  ${database || '(none)'}`,
    `  told by   ${from}`,
    '',
    'Likely causes:',
    ...causes.map((cause, index) => `  ${index + 1}. ${cause}`),
  ].join('\n')
}

function reasonOf(cause: unknown): string {
  switch (kindOf(cause)) {
    case 'refused':
      return 'connection refused'
    case 'unknown-host':
      return 'the host is not known'
    case 'silent':
      return 'no answer'
    default:
      return summarise(cause).message || 'no connection could be made'
  }
}

type Kind = 'refused' | 'unknown-host' | 'silent' | 'denied' | 'no-database' | 'busy' | 'other'

function kindOf(cause: unknown): Kind {
  const { code = '', message = '' } = (cause ?? {}) as { code?: string; message?: string }
  if (code === 'ECONNREFUSED' || code === 'ENOENT') return 'refused'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'unknown-host'
  if (['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code) || /timeout/i.test(message)) return 'silent'
  if (code.startsWith('28') || message.startsWith('SASL')) return 'denied'
  if (code === '3D000') return 'no-database'
  if (code === '57P03' || code === '53300') return 'busy'
  return 'other'
}

const NAME_IT = 'the database is elsewhere: nothing names it; give --url or DATABASE_URL'

function likelyCauses(cause: unknown, { host, port, user, database, from }: Target): string[] {
  switch (kindOf(cause)) {
    case 'refused':
      return [
        `PostgreSQL is not running on ${host}`,
        `it listens on another port than ${port}, or not on this address (listen_addresses, a container's published port)`,
        from === UNNAMED ? NAME_IT : `another server is meant than the one of ${from}`,
      ]
    case 'unknown-host':
      return [
        `"${host}" is misspelt in ${from}`,
        'the name is known only inside another network (a container network, a VPN)',
        'DNS does not answer',
      ]
    case 'silent':
      return [
        `a firewall or a security group drops packets to ${host}:${port}`,
        'the host is down or its address has changed',
        'the server is overloaded and accepts nobody',
      ]
    case 'denied':
      return [
        from === UNNAMED ? NAME_IT : `the password of "${user}" is wrong or missing in ${from}`,
        `the role "${user}" does not exist or may not log in`,
        'pg_hba.conf admits this user only from elsewhere, or with TLS (sslmode=require)',
      ]
    case 'no-database':
      return [
        `"${database}" has not been created: createdb ${database}`,
        `its name is misspelt in ${from}`,
        `it is on another server than ${host}:${port}`,
      ]
    case 'busy':
      return [
        'the server is starting up or shutting down: try again',
        'all its connections are in use (max_connections)',
        'a pooler in front of it is full',
      ]
    case 'other':
      return [
        'what answers there is not PostgreSQL, or a proxy closed the connection',
        'the server asks for TLS, or does not offer it (sslmode in the connection string)',
        from === UNNAMED ? NAME_IT : `${from} is wrong`,
      ]
  }
}
