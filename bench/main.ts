// npm run bench -- [suite | suite/name | name] … [--json] [--names]
import { parseArgs } from 'node:util'
import { core } from './core.ts'
import { measure, type Outcome } from './stand/measure.ts'
import { table } from './stand/table.ts'
import { notRun, type Workload } from './stand/workload.ts'

const SUITES: Readonly<Record<string, readonly Workload[]>> = { core }

const USAGE = `Usage: npm run bench -- [suite | suite/name | name] … [--json] [--names]

  --json    the last line of stdout is one JSON object, {"targets":[…], …}
  --names   runs nothing: says which targets there are

Suites: ${Object.entries(SUITES).map(([suite, workloads]) => `${suite} (${workloads.map(({ name }) => name).join(', ')})`)}`

process.exitCode = await main()

async function main(): Promise<number> {
  const { wishes, json, names, help } = read(process.argv.slice(2))
  if (help || wishes === undefined) {
    if (help) console.log(USAGE)
    else console.error(USAGE)
    return help ? 0 : 2
  }
  const suites = Object.keys(SUITES).filter((suite) => wishes.some((wish) => meant(wish, suite).length > 0))
  const workloads = suites.flatMap((suite) => SUITES[suite]!)
  const asked = new Set(wishes.flatMap((wish) => suites.flatMap((suite) => meant(wish, suite))))
  const outcome = names ? unmeasured(workloads) : await measure(workloads, asked, (line) => console.error(line))
  console.log(table(outcome.targets))
  if (json) console.log(JSON.stringify(outcome))
  return names || measuredAll(outcome, asked) ? 0 : 1
}

function read(args: string[]) {
  const { positionals, values } = parseArgs({
    args,
    allowPositionals: true,
    strict: true,
    options: { json: { type: 'boolean' }, names: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  })
  const wishes = positionals.length > 0 ? positionals : ['core']
  const known = wishes.every((wish) => Object.keys(SUITES).some((suite) => meant(wish, suite).length > 0))
  return { ...values, wishes: known ? wishes : undefined }
}

/** The workloads of a suite that a word of the command line means. */
function meant(wish: string, suite: string): Workload[] {
  if (wish === suite) return [...SUITES[suite]!]
  const name = wish.startsWith(`${suite}/`) ? wish.slice(suite.length + 1) : wish
  return SUITES[suite]!.filter(
    (workload) => workload.name === name || workload.goals.some((goal) => goal.name === name),
  )
}

function unmeasured(workloads: readonly Workload[]): Outcome {
  return { targets: workloads.flatMap(({ goals }) => goals.map((goal) => notRun(goal, 'nothing was run'))) }
}

function measuredAll({ targets }: Outcome, asked: ReadonlySet<Workload>): boolean {
  const names = new Set([...asked].flatMap(({ goals }) => goals.map(({ name }) => name)))
  return targets.every(({ name, met }) => met !== null || !names.has(name))
}
