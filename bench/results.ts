import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Saved, withTables } from './page.ts'
import type { Outcome } from './stand/measure.ts'
import type { Plot, Target } from './stand/workload.ts'

const DIRECTORY = fileURLToPath(new URL('../docs/benchmarks/', import.meta.url))
export const FULL = `${DIRECTORY}full.json`
export const QUICK = `${DIRECTORY}quick.json`
const PAGE = `${DIRECTORY}README.md`

/** Puts what was measured in the place of what was measured before, target by target, and draws it. */
export async function save(
  outcome: Outcome,
  { suite, quick }: { suite: string; quick: boolean },
  say: (line: string) => void,
): Promise<void> {
  mkdirSync(DIRECTORY, { recursive: true })
  const file = suite !== 'peers' ? `${DIRECTORY}${suite}.json` : quick ? QUICK : FULL
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Saved) : undefined
  writeFileSync(file, `${JSON.stringify(merged(before, stamped(outcome)), null, 1)}\n`)
  say(`saved in ${file}`)
  if (file === source()) await draw(say)
}

/** The pictures and the tables of the page, from what is saved: a full run, or a quick one where there is none. */
export async function draw(say: (line: string) => void): Promise<number> {
  const saved = JSON.parse(readFileSync(source(), 'utf8')) as Saved
  const drawer = new URL('./plots/draw.ts', import.meta.url).href
  const { svgOf } = (await import(drawer)) as { svgOf: (plot: Plot) => Promise<string> }
  for (const { plots = [] } of Object.values(saved.reports))
    for (const plot of plots) writeFileSync(`${DIRECTORY}${plot.name}.svg`, await svgOf(plot))
  if (existsSync(PAGE)) writeFileSync(PAGE, withTables(readFileSync(PAGE, 'utf8'), saved))
  say(`drawn in ${DIRECTORY}`)
  return 0
}

function source(): string {
  return existsSync(FULL) ? FULL : QUICK
}

// Each report says when, where and at which commit it was measured: not all are of one run.
function stamped(outcome: Outcome): Outcome {
  const { startedAt, machine, postgres } = outcome
  const reports = Object.fromEntries(
    Object.entries(outcome.reports ?? {}).map(([name, report]) => [
      name,
      { ...(report as object), startedAt, commit: (machine as { commit: string }).commit },
    ]),
  )
  return { ...outcome, machine, postgres, reports }
}

function merged(before: Outcome | undefined, now: Outcome): Outcome {
  const measured = now.targets.filter(({ met }) => met !== null)
  const order = now.targets.map(({ name }) => name)
  const kept = (before?.targets ?? []).filter(({ name }) => !measured.some((one) => one.name === name))
  const targets = [...kept, ...measured].toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
  const reports = { ...before?.reports, ...now.reports }
  const skipped = now.skipped.filter(({ name }) => !reports[name] && !measuredIn(targets, name))
  return { ...now, targets, skipped, reports }
}

function measuredIn(targets: readonly Target[], name: string): boolean {
  return targets.some((one) => one.name === name && one.met !== null)
}
