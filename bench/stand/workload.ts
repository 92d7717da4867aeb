import type { Bench } from './bench.ts'

/** What a target's number is compared with. */
export type Measure =
  /** Ours as a share of the limit in plain SQL, from here on. */
  | { readonly kind: 'share-of-baseline'; readonly target: number }
  | { readonly kind: 'at-least'; readonly target: number }
  | { readonly kind: 'at-most'; readonly target: number }
  | { readonly kind: 'below'; readonly target: number }

export interface Goal {
  readonly name: string
  readonly unit: string
  readonly measure: Measure
}

export interface Measured {
  readonly name: string
  readonly ours: number
  readonly baseline: number | null
  readonly runs: number
}

export interface Findings {
  readonly measured: readonly Measured[]
  /** Whatever else is worth knowing, as JSON. */
  readonly report: Readonly<Record<string, unknown>>
}

/** One file under bench/: what it is to show, and how. */
export interface Workload {
  readonly name: string
  readonly goals: readonly Goal[]
  /** After so many milliseconds it is given up, and its targets count as not run. */
  readonly deadlineMs: number
  run(bench: Bench): Promise<Findings>
}

export interface Target {
  readonly name: string
  readonly ours: number | null
  readonly baseline: number | null
  readonly unit: string
  readonly ratio: number | null
  readonly target: number
  readonly met: boolean | null
  readonly runs: number
  /** Why it was not run. */
  readonly reason?: string
}

export function reached({ name, unit, measure }: Goal, { ours, baseline, runs }: Measured): Target {
  const ratio = ours / (measure.kind === 'share-of-baseline' ? (baseline ?? Number.NaN) : measure.target)
  const target = { name, unit, target: measure.target, runs }
  return {
    ...target,
    ours: rounded(ours),
    baseline: baseline && rounded(baseline),
    ratio: rounded(ratio),
    met: meets(measure, ours, ratio),
  }
}

export function notRun({ name, unit, measure }: Goal, reason: string): Target {
  return { name, ours: null, baseline: null, unit, ratio: null, target: measure.target, met: null, runs: 0, reason }
}

function meets({ kind, target }: Measure, ours: number, ratio: number): boolean {
  switch (kind) {
    case 'share-of-baseline':
      return ratio >= target
    case 'at-least':
      return ours >= target
    case 'at-most':
      return ours <= target
    case 'below':
      return ours < target
  }
}

/** Three digits that say something; whole numbers from 100 on. */
export function rounded(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}
