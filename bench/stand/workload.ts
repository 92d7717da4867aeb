import type { Bench } from './bench.ts'

/** What a target's number is compared with. */
export type Measure =
  /** Ours as a share of the limit in plain SQL, from here on. */
  | { readonly kind: 'share-of-baseline'; readonly target: number; readonly ofBestPeer?: number }
  /** Ours as a multiple of the best peer's, from here on or up to here; the baseline is that peer's figure. */
  | { readonly kind: 'of-best-peer'; readonly target: number }
  | { readonly kind: 'at-most-of-best-peer'; readonly target: number }
  /** Ours as a multiple of the baseline, up to here. */
  | { readonly kind: 'at-most-of-baseline'; readonly target: number }
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
  /** Least and most of our runs. */
  readonly spread?: Spread
  /** What the peers come to, by name. */
  readonly peers?: Figures
}

export type Spread = readonly [least: number, most: number]

/** A peer's own, in the unit of the target. */
export interface Figure {
  readonly figure: number | null
  readonly runs?: readonly number[]
  /** Of `figure` and the peer's own baseline, where ours has one. */
  readonly ratio?: number
  /** How it did what it did, where that is not the same. */
  readonly note?: string
  /** Why there is none. */
  readonly reason?: string
}

export type Figures = Readonly<Record<string, Figure>>

/** What a picture shows; drawn by bench/plots/. */
export interface Plot {
  readonly name: string
  readonly title: string
  readonly kind: 'bars' | 'lines'
  readonly x: string
  readonly y: string
  readonly logarithmic?: boolean
  readonly rows: readonly { readonly side: string; readonly x: string | number; readonly y: number | null }[]
}

export interface Findings {
  readonly measured: readonly Measured[]
  /** Whatever else is worth knowing, as JSON; what it calls `plots` is drawn. */
  readonly report: Readonly<Record<string, unknown>> & { readonly plots?: readonly Plot[] }
}

/** One file under bench/: what it is to show, and how. */
export interface Workload {
  readonly name: string
  readonly goals: readonly Goal[]
  /** After so many milliseconds it is given up, and its targets count as not run. */
  readonly deadlineMs: number
  /** It belongs to what `--quick` runs, with fewer and shorter runs. */
  readonly quick?: boolean
  /** How long it takes, when that is so long that it runs only by its name. */
  readonly long?: string
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
  readonly spread?: Spread
  readonly peers?: Figures
  /** The best of them, and what ours is to it. */
  readonly bestPeer?: { readonly name: string; readonly ratio: number; readonly target?: number }
  /** Why it was not run. */
  readonly reason?: string
}

export function reached({ name, unit, measure }: Goal, measured: Measured): Target {
  const { ours, runs, spread, peers } = measured
  const best = bestOf(measure, peers)
  const baseline = ofPeers(measure) ? (best?.figure ?? null) : measured.baseline
  const ratio = ours / (ofBaseline(measure) ? (baseline ?? Number.NaN) : measure.target)
  const bestPeer = best && { name: best.name, ratio: rounded(ours / best.figure) }
  const wanted = measure.kind === 'share-of-baseline' ? measure.ofBestPeer : undefined
  return {
    name,
    unit,
    target: measure.target,
    runs,
    ours: rounded(ours),
    baseline: baseline && rounded(baseline),
    ratio: rounded(ratio),
    met: meets(measure, ours, ratio) && (wanted === undefined || (best !== undefined && ours >= wanted * best.figure)),
    ...(spread && { spread: [rounded(spread[0]), rounded(spread[1])] as const }),
    ...(peers && { peers }),
    ...(bestPeer && { bestPeer: { ...bestPeer, ...(wanted !== undefined && { target: wanted }) } }),
  }
}

function ofPeers({ kind }: Measure): boolean {
  return kind === 'of-best-peer' || kind === 'at-most-of-best-peer'
}

function ofBaseline(measure: Measure): boolean {
  return ofPeers(measure) || measure.kind === 'share-of-baseline' || measure.kind === 'at-most-of-baseline'
}

const LESS_IS_BETTER: ReadonlySet<Measure['kind']> = new Set([
  'at-most',
  'below',
  'at-most-of-best-peer',
  'at-most-of-baseline',
])

function bestOf({ kind }: Measure, peers: Figures = {}): { name: string; figure: number } | undefined {
  const figures = Object.entries(peers).flatMap(([name, { figure }]) => (figure === null ? [] : [{ name, figure }]))
  const [best] = figures.toSorted((a, b) => (LESS_IS_BETTER.has(kind) ? a.figure - b.figure : b.figure - a.figure))
  return best
}

export function notRun({ name, unit, measure }: Goal, reason: string): Target {
  return { name, ours: null, baseline: null, unit, ratio: null, target: measure.target, met: null, runs: 0, reason }
}

function meets({ kind, target }: Measure, ours: number, ratio: number): boolean {
  switch (kind) {
    case 'share-of-baseline':
    case 'of-best-peer':
      return ratio >= target
    case 'at-most-of-best-peer':
    case 'at-most-of-baseline':
      return ratio <= target
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

export const NOT_ASKED_FOR = 'not asked for'
export const OUT_OF_TIME = 'no time was left for it'
