import type { Target } from './workload.ts'

const COLUMNS = ['target', 'ours', 'baseline', 'unit', 'ratio', 'wanted', ''] as const

/** For people. */
export function table(targets: readonly Target[]): string {
  const rows = [COLUMNS, ...targets.map(row)]
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

function row({ name, ours, baseline, unit, ratio, target, met, reason }: Target): string[] {
  const verdict = met === null ? `not run: ${reason}` : met ? 'met' : 'missed'
  return [name, told(ours), told(baseline), unit, told(ratio), told(target), verdict]
}

function told(value: number | null): string {
  return value === null ? '–' : value.toLocaleString('en', { maximumSignificantDigits: 6 })
}
