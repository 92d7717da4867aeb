const ISO = /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d+))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?$/

/** A time as the server writes it where DateStyle is ISO, `2027-01-31 23:59:59.123456+05:30`; undefined for what is written otherwise. */
export function instantOf(text: string): Date | undefined {
  const parts = ISO.exec(text)
  if (!parts) return undefined
  const [, year, month, day, hour, minute, second, fraction = '', sign, ...offset] = parts
  const [hours, minutes, seconds] = offset.map((part) => Number(part ?? 0))
  const instant = new Date(0)
  // the year before 1 is 1 BC, and a Date of two digits would be one of the last century
  instant.setUTCFullYear(parts.at(-1) === undefined ? Number(year) : 1 - Number(year), Number(month) - 1, Number(day))
  instant.setUTCHours(Number(hour), Number(minute), Number(second), Number(fraction.padEnd(3, '0').slice(0, 3)))
  const aheadMs = ((hours! * 60 + minutes!) * 60 + seconds!) * 1_000
  return new Date(instant.getTime() - (sign === '-' ? -aheadMs : aheadMs))
}
