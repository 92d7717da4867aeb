import { rounded } from './workload.ts'

export interface Runs {
  readonly ours: readonly number[]
  readonly baseline: readonly number[]
}

/** A B, B A, A B …: whatever else the machine does meanwhile meets both, and so does what the first run finds cold. */
export async function alternate(
  pairs: number,
  sides: { ours: () => Promise<number>; baseline: () => Promise<number> },
): Promise<Runs> {
  const ours: number[] = []
  const baseline: number[] = []
  for (let pair = 0; pair < pairs; pair += 1) {
    if (pair % 2 === 0) ours.push(await sides.ours())
    baseline.push(await sides.baseline())
    if (pair % 2 === 1) ours.push(await sides.ours())
  }
  return { ours, baseline }
}

export function medians({ ours, baseline }: Runs) {
  return { ours: median(ours), baseline: median(baseline), runs: ours.length }
}

/** For the report: each run, and what they come to. */
export function told(runs: Runs) {
  const { ours, baseline } = medians(runs)
  return { ours: runs.ours.map(rounded), baseline: runs.baseline.map(rounded), ratio: rounded(ours / baseline) }
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5)
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!]
  return low + (high - low) * (at - Math.floor(at))
}
