import { createHash } from 'node:crypto'

/** The name of the n-th payment of a seed. */
export function paymentOf(seed: number, n: number): string {
  return `pay_${seed}_${n}`
}

/** What it is about: 1.00 to 200.99, the same for the same seed. */
export function centsOf(seed: number, n: number): number {
  return 100 + (createHash('sha256').update(`${seed} ${n}`).digest().readUInt32BE() % 20_000)
}
