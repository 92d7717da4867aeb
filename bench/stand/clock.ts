/** Milliseconds of the machine's monotonic clock: processes of one machine agree on it. */
export function clock(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
