/** A time as a driver gives it: Date, text or milliseconds, as its owner has it read. */
export function timeFrom(value: Date | string | number): Date {
  return value instanceof Date ? value : new Date(value)
}

/** The same of one that may be missing, or never comes. */
export function timeOrNull(value: Date | string | number | null): Date | null {
  return value === null || value === Number.POSITIVE_INFINITY || value === 'infinity' ? null : timeFrom(value)
}

/** JSON as a driver gives it: parsed, or left as text. What may be text in itself is not for this. */
export function jsonFrom(value: unknown): unknown {
  return typeof value === 'string' ? JSON.parse(value) : value
}
