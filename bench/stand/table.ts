import type { Skipped } from './measure.ts'
import { NOT_ASKED_FOR, type Target } from './workload.ts'

const COLUMNS = ['target', 'ours', 'baseline', 'unit', 'ratio', 'wanted', 'best peer', ''] as const

/** For people. */
export function table(targets: readonly Target[]): string {
  const rows = [COLUMNS, ...targets.filter(({ reason }) => !reason?.startsWith(NOT_ASKED_FOR)).map(row)]
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)))
  return rows
    .map((cells) =>
      cells
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** What was left out, in one line. */
export function skippedLine(skipped: readonly Skipped[]): string {
  return skipped.length === 0 ? '' : `skipped: ${skipped.map(({ name }) => name).join(', ')}`
}

function row({ name, ours, baseline, unit, ratio, target, met, bestPeer, reason }: Target): string[] {
  const verdict = met === null ? `not run: ${reason}` : met ? 'met' : 'missed'
  const best = bestPeer ? `${told(bestPeer.ratio)} of ${bestPeer.name}` : ''
  return [name, told(ours), told(baseline), unit, told(ratio), told(target), best, verdict]
}

function told(value: number | null): string {
  return value === null ? '–' : value.toLocaleString('en', { maximumSignificantDigits: 6 })
}
