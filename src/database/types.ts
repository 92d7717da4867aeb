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
  [20, (text) => text],
  [21, Number],
  [23, Number],
  [114, JSON.parse],
  [701, Number],
  [1700, (text) => text],
  [3802, JSON.parse],
])
const TIMESTAMPTZ = 1184

/** Reads what our own statements return in one way, whatever parsers the client has been given for its owner's. */
export function ownTypes(of: Partial<Types>): Types {
  const theirs = (oid: number) => of.getTypeParser?.(oid, 'text') ?? asItIs
  return {
    getTypeParser: (oid) => (oid === TIMESTAMPTZ ? readingTimes(theirs(oid)) : (OURS.get(oid) ?? theirs(oid))),
  }
}

function readingTimes(theirs: Parse): Parse {
  return (text) => {
    const instant = instantOf(text) ?? endless(text) ?? theirs(text)
    if (instant instanceof Date || typeof instant === 'number') return instant
    throw new NotSupported(
      'DateStyle',
      `a time that the server wrote cannot be read, "${text}": set DateStyle to ISO for the role or the database`,
    )
  }
}

function endless(text: string): number | undefined {
  if (text === 'infinity') return Number.POSITIVE_INFINITY
  return text === '-infinity' ? Number.NEGATIVE_INFINITY : undefined
}

function asItIs(text: string): string {
  return text
}
