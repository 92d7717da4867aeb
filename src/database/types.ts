import { NotSupported } from '../errors.ts'
import { octetsOf } from '../rules/octets.ts'
import { instantOf } from './instant.ts'

type Parse = (text: string) => unknown

/** How a client reads what the server writes; its owner may have changed it, for this client or for all. */
export interface Types {
  getTypeParser(oid: number, format?: string): Parse
}

// What our own statements return. An int8 stays text, as a number would lose digits.
const OURS = new Map<number, Parse>([
  [16, (text) => text === 't'],
  [17, octetsOf],
  [20, asItIs],
  [21, Number],
  [23, Number],
  [114, JSON.parse],
  [701, Number],
  [1184, timeOf],
  [1700, asItIs],
  [3802, JSON.parse],
])

/** Reads what our own statements return in one way, whatever parsers the client has been given for its owner's. */
export function ownTypes(of: Partial<Types>): Types {
  return { getTypeParser: (oid) => OURS.get(oid) ?? of.getTypeParser?.(oid, 'text') ?? asItIs }
}

function timeOf(text: string): Date | number {
  if (text === 'infinity') return Number.POSITIVE_INFINITY
  if (text === '-infinity') return Number.NEGATIVE_INFINITY
  const instant = instantOf(text)
  if (instant) return instant
  throw new NotSupported(
    'DateStyle',
    `a time that the server wrote cannot be read, "${text}": set DateStyle to ISO for the role or the database`,
  )
}

function asItIs(text: string): string {
  return text
}
