const TEXT = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d$/

/** A time as the server usually writes it, `2027-01-31 23:59:59.123456+00`; undefined for what is written otherwise. */
export function instantOf(text: string): Date | undefined {
  if (!TEXT.test(text)) return undefined
  const sign = text.charCodeAt(text.length - 3) === MINUS ? -1 : 1
  const hours = two(text, 11) - sign * two(text, text.length - 2)
  const year = two(text, 0) * 100 + two(text, 2)
  const instant = Date.UTC(year, two(text, 5) - 1, two(text, 8), hours, two(text, 14), two(text, 17), fraction(text))
  return year < 100 ? undefined : new Date(instant)
}

const MINUS = '-'.charCodeAt(0)
const ZERO = '0'.charCodeAt(0)

function two(text: string, at: number): number {
  return (text.charCodeAt(at) - ZERO) * 10 + text.charCodeAt(at + 1) - ZERO
}

// Whole milliseconds, as pg's own parser has them.
function fraction(text: string): number {
  let ms = 0
  for (let at = 20; at < 23; at += 1) {
    const digit = text.charCodeAt(at) - ZERO
    ms = ms * 10 + (at < text.length - 3 && digit >= 0 && digit <= 9 ? digit : 0)
  }
  return ms
}
