import type { Bench } from './bench.ts'
import { type Ability, OURS, type Peer, PLAIN, peersOf } from './peer.ts'
import { median } from './runs.ts'
import { type Figure, type Figures, type Measured, rounded } from './workload.ts'

export interface Side {
  readonly peer: Peer
  run(): Promise<number>
}

/** What each side came to, run by run; a peer that failed is told with its error instead. */
export interface Rounds {
  readonly runs: Readonly<Record<string, readonly number[]>>
  readonly failed: Readonly<Record<string, string>>
}

/** One side after the other, so often: whatever else the machine does meanwhile meets all of them. */
export async function rounds(bench: Bench, count: number, sides: readonly Side[]): Promise<Rounds> {
  const runs: Record<string, number[]> = {}
  const failed: Record<string, string> = {}
  for (let round = 0; round < count; round += 1)
    for (const { peer, run } of sides) {
      if (failed[peer.name]) continue
      try {
        const figure = await run()
        runs[peer.name] = [...(runs[peer.name] ?? []), figure]
        bench.say(`  ${peer.name}: ${rounded(figure)}`)
      } catch (error) {
        if (peer.name === OURS || peer.name === PLAIN) throw error
        failed[peer.name] = error instanceof Error ? error.message : String(error)
        bench.say(`  ${peer.name}: ${failed[peer.name]}`)
      }
    }
  return { runs, failed }
}

/** The peers that can do it; `needs` in the order of what is told first. */
export async function able(needs: readonly Ability[] = []): Promise<{ able: Peer[]; unable: Figures }> {
  const all = await peersOf()
  const reasons = all.flatMap((peer) => {
    const need = needs.find((one) => peer.cannot[one])
    return need ? [[peer.name, { figure: null, reason: peer.cannot[need]! }] as const] : []
  })
  const unable = Object.fromEntries(reasons)
  return { able: all.filter(({ name }) => !unable[name]), unable }
}

/** Ours, the limit's and the peers' of the rounds, for a target. */
export function measuredOf(name: string, { runs, failed }: Rounds, unable: Figures = {}): Measured {
  const ours = runs[OURS]!
  const limit = runs[PLAIN]
  return {
    name,
    ours: median(ours),
    baseline: limit ? median(limit) : null,
    runs: ours.length,
    spread: [Math.min(...ours), Math.max(...ours)],
    peers: { ...figuresOf({ runs, failed }), ...withoutLimit(unable) },
  }
}

/** The peers alone. */
export function figuresOf({ runs, failed }: Rounds): Figures {
  const measured = Object.entries(runs)
    .filter(([name]) => name !== OURS && name !== PLAIN)
    .map(([name, values]) => [name, figureOf(values)] as const)
  const reasons = Object.entries(failed).map(([name, reason]) => [name, { figure: null, reason }] as const)
  return Object.fromEntries([...measured, ...reasons])
}

export function figureOf(runs: readonly number[], more: Partial<Figure> = {}): Figure {
  return { figure: rounded(median(runs)), runs: runs.map(rounded), ...more }
}

/** All sides with every run, for the report. */
export function toldRounds({ runs, failed }: Rounds, unable: Figures = {}): Record<string, unknown> {
  const told = Object.entries(runs).map(([name, values]) => [
    name,
    { median: rounded(median(values)), runs: values.map(rounded) },
  ])
  return { ...Object.fromEntries(told), ...failed, ...withoutLimit(unable) }
}

function withoutLimit(unable: Figures): Figures {
  return Object.fromEntries(Object.entries(unable).filter(([name]) => name !== PLAIN))
}
