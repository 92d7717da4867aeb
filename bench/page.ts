import type { Outcome } from './stand/measure.ts'
import type { Figures, Plot, Target } from './stand/workload.ts'

export interface Report {
  readonly plots?: readonly Plot[]
  readonly figures?: Readonly<Record<string, unknown>>
  readonly startedAt?: string
  readonly commit?: string
  readonly load?: readonly number[]
}

export type Saved = Outcome & {
  readonly reports: Readonly<Record<string, Report>>
  readonly machine: Readonly<Record<string, unknown>>
  readonly postgres: { readonly version: string; readonly settings: Readonly<Record<string, unknown>> }
  readonly peers: Readonly<Record<string, Side>>
}

interface Side {
  readonly version: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly effect: string
  readonly cannot: Readonly<Record<string, string>>
}

/** The page with its tables, each between two comments of its name, as what is saved has them. */
export function withTables(page: string, saved: Saved): string {
  const tables = {
    targets: targetsTable(saved.targets),
    others: othersTable(saved.reports),
    settings: settingsList(saved.peers),
    machine: machineLine(saved),
    plots: pictures(saved.reports),
    runs: runsTable(saved.reports),
  }
  return Object.entries(tables).reduce(
    (text, [name, table]) =>
      text.replace(
        new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`),
        (_all, begin, end) => `${begin}\n${table}\n\n${end}`,
      ),
    page,
  )
}

function targetsTable(targets: readonly Target[]): string {
  const head = ['| target | ours | of what | ratio | wanted | the peers | met |', '|---|---|---|---|---|---|---|']
  return [...head, ...targets.map(rowOf)].join('\n')
}

function rowOf({ name, ours, baseline, unit, target, ratio, spread, bestPeer, met, peers, reason }: Target): string {
  if (met === null) return `| \`${name}\` | – | | | ${target} | | ${reason} |`
  const range = spread && spread[0] !== spread[1] ? ` (${told(spread[0])} to ${told(spread[1])})` : ''
  const wanted = bestPeer?.target ? `${target}; ${bestPeer.target} × the best peer` : `${target}`
  const best = bestPeer ? `ours is ${bestPeer.ratio} × ${bestPeer.name}; ` : ''
  return `| \`${name}\` | ${told(ours)} ${unit}${range} | ${baseline === null ? '' : told(baseline)} | ${ratio} | ${wanted} | ${best}${peersOf(peers)} | ${met ? 'yes' : '**no**'} |`
}

function peersOf(peers: Figures = {}): string {
  return Object.entries(peers)
    .map(([name, { figure, ratio, note, reason }]) => {
      if (figure === null) return `${name}: none, ${reason}`
      const more = [ratio === undefined ? '' : `ratio ${ratio}`, note ?? ''].filter(Boolean).join(', ')
      return `${name} ${told(figure)}${more ? ` (${more})` : ''}`
    })
    .join('; ')
}

// What has no target: one table for each workload, a row for each side.
function othersTable(reports: Readonly<Record<string, Report>>): string {
  return Object.entries(reports)
    .filter(([, { figures }]) => figures !== undefined)
    .map(([name, { figures }]) => figuresTable(name, figures!))
    .join('\n\n')
}

function figuresTable(name: string, figures: Readonly<Record<string, unknown>>): string {
  const rows = Object.entries(figures).flatMap(([side, figure]) =>
    (Array.isArray(figure) ? figure : [figure]).map((one) => [side, one as Record<string, unknown>] as const),
  )
  const measured = rows.filter(([, one]) => one.figure !== null)
  const columns = [...new Set(measured.flatMap(([, one]) => Object.keys(one)))]
  const lines = measured.map(
    ([side, one]) => `| ${[side, ...columns.map((column) => one[column] ?? '')].join(' | ')} |`,
  )
  const head = [`| \`${name}\` | ${columns.join(' | ')} |`, `|---${'|---'.repeat(columns.length)}|`]
  return [...head, ...lines].join('\n')
}

function pictures(reports: Readonly<Record<string, Report>>): string {
  return Object.values(reports)
    .flatMap(({ plots = [] }) => plots)
    .map(({ name, title }) => `![${title}](${name}.svg)`)
    .join('\n\n')
}

function settingsList(peers: Readonly<Record<string, Side>>): string {
  return Object.entries(peers)
    .map(([name, { version, settings, effect, cannot }]) => {
      const lines = [...Object.entries(settings), ['an insert as effect', effect]]
      const unable = Object.entries(cannot).map(([what, why]) => `  - cannot ${what}: ${why}`)
      return [`- **${name}** ${version}`, ...lines.map(([what, how]) => `  - ${what}: ${how}`), ...unable].join('\n')
    })
    .join('\n')
}

function machineLine({ machine, postgres, quick }: Saved): string {
  const { cpu, cores, memoryGb, system, node } = machine
  const settings = Object.entries(postgres.settings).map(([name, value]) => `\`${name} = ${value}\``)
  const length = quick ? 'A quick run: fewer workloads, fewer and shorter runs, so take a fifth for noise. ' : ''
  return `${length}${cores} cores (${cpu}), ${memoryGb} GB, ${system}, Node ${node}; PostgreSQL ${postgres.version} on the same machine, ${settings.join(', ')}.`
}

function runsTable(reports: Readonly<Record<string, Report>>): string {
  const head = ['| workload | measured | commit | load before, after |', '|---|---|---|---|']
  const rows = Object.entries(reports).map(
    ([name, { startedAt, commit, load = [] }]) => `| \`${name}\` | ${startedAt} | ${commit} | ${load.join(', ')} |`,
  )
  return [...head, ...rows].join('\n')
}

function told(value: number | null): string {
  return value === null ? '–' : value.toLocaleString('en', { maximumSignificantDigits: 6 })
}
