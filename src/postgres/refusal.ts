import {
  DedupeBusy,
  DedupeConflict,
  InvalidMessage,
  LogTrimmed,
  QueueNotEmpty,
  SchemaMissing,
  UnknownExchange,
  UnknownQueue,
} from '../errors.ts'
import type { Tables } from './tables.ts'

/**
 * An error of the server as ours, where it is one: refusals of the schema's own functions have codes of class PH, and a schema
 * that is not there has Postgres' code. Everything else is returned as it came.
 */
export function refusal(t: Tables, error: unknown): unknown {
  const { code, message = '' } = error as { code?: string; message?: string }
  const [, name = '?', reason = ''] = /"([^"]*)": (.*)$/s.exec(message) ?? []
  switch (code) {
    case 'PH001':
      return new InvalidMessage(name, 'message', `is refused: ${reason || message}`)
    case 'PH002':
      return new UnknownExchange(/exchange "([^"]*)"/.exec(message)?.[1] ?? '?')
    case 'PH003':
      return new UnknownQueue(name)
    case 'PH012':
      return new LogTrimmed(message.replace(/^Cannot read: /, ''), { cause: error })
    case 'PH030':
      return new DedupeConflict(name)
    case 'PH031':
      return new DedupeBusy(name)
    case 'PH020':
      return new QueueNotEmpty(name, reason)
    case '3F000':
    case '42883':
    case '42P01':
      return message.includes(t.schema) ? new SchemaMissing(t.schema, { cause: error }) : error
    default:
      return error
  }
}
