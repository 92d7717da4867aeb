import { InvalidArgumentError } from '@commander-js/extra-typings'
import type { From } from '../index.ts'

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Reads a place of the log from an argument. */
export function fromText(text: string): From {
  if (text === 'earliest' || text === 'latest') return text
  if (ID.test(text)) return text.toLowerCase()
  const at = timeOf(text)
  if (at) return at
  throw new InvalidArgumentError(
    'It is not earliest, latest, a time (2026-01-31T12:00:00Z, or 10m for ten minutes ago), or the id of a message.',
  )
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A time, or how long ago it was. */
export function timeOf(text: string): Date | undefined {
  const [, number, unit = ''] = /^(\d{1,9})(s|m|h|d)$/.exec(text) ?? []
  if (number !== undefined) return new Date(Date.now() - Number(number) * UNITS[unit]!)
  if (!/^\d{4}-\d\d-\d\d/.test(text)) return undefined
  const at = new Date(text)
  return Number.isNaN(at.getTime()) ? undefined : at
}
