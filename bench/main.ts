// npm run bench -- [suite | suite/name | name] … [--quick] [--json] [--names] [--save]
// npm run bench -- guard | plots
import { parseArgs } from 'node:util'
import { core } from './core.ts'
import { guard } from './guard.ts'
import { queues } from './queues.ts'
import { draw, save } from './results.ts'
import { sideBySide } from './side-by-side.ts'
import { measure, type Outcome } from './stand/measure.ts'
import { peersOf } from './stand/peer.ts'
import { skippedLine, table } from './stand/table.ts'
import { notRun, type Workload } from './stand/workload.ts'
import { streams } from './streams.ts'

/** A name that several have is that of the first. */
const SUITES: Readonly<Record<string, readonly Workload[]>> = { peers: sideBySide, core, queues, streams }
const DEFAULT = 'peers'
const QUICK_MS = 160_000

const USAGE = `Usage: npm run bench -- [suite | suite/name | name] … [--quick] [--json] [--names] [--save]
       npm run bench -- guard | plots

  --quick   less than three minutes: fewer workloads, fewer and shorter runs; the others are named under "skipped"
  --json    the last line of stdout is one JSON object, {"targets":[…], …}
  --names   runs nothing: says which targets there are
  --save    puts what was measured into docs/benchmarks/, and draws it
  guard     runs the quick ones and prints what fell by more than 20 % since docs/benchmarks/quick.json was saved
  plots     draws docs/benchmarks/ again

Suites: ${Object.entries(SUITES).map(([suite, workloads]) => `${suite} (${workloads.map(({ name }) => name).join(', ')})`)}
Without a name: ${DEFAULT}, but for those that take long: ${sideBySide.flatMap(({ name, long }) => (long ? [`${name} (${long})`] : [])).join(', ')}`

const say = (line: string) => console.error(line)

// A workload that is given up leaves peers behind whose databases are dropped under them, and not all of them listen to their clients.
process.on('uncaughtException', survive)
process.on('unhandledRejection', survive)

process.exitCode = await main(process.argv.slice(2))
// What was given up may still hold something open.
process.exit()

async function main(args: string[]): Promise<number> {
  const { wishes, help, ...options } = read(args)
  if (help) return told(USAGE, 0)
  if (wishes === undefined) return refused()
  if (wishes[0] === 'guard') return await guard(await measured(['peers'], { quick: true }), say)
  if (wishes[0] === 'plots') return await draw(say)
  const outcome = await measured(wishes, options)
  console.log(table(outcome.targets))
  console.log(skippedLine(outcome.skipped))
  const [suite = DEFAULT] = suitesOf(wishes)
  if (options.save) await save(outcome, { suite, quick: options.quick === true }, say)
  if (options.json) console.log(JSON.stringify(outcome))
  return options.names || measuredAll(outcome) ? 0 : 1
}

interface Options {
  readonly quick?: boolean | undefined
  readonly names?: boolean | undefined
}

async function measured(wishes: readonly string[], { quick = false, names = false }: Options): Promise<Outcome> {
  const suites = suitesOf(wishes)
  const workloads = suites.flatMap((suite) => SUITES[suite]!)
  const asked = new Set(wishes.flatMap((wish) => suites.flatMap((suite) => wanted(wish, suite, quick))))
  if (names) return unmeasured(workloads)
  const outcome = await measure(workloads, asked, say, quick ? { quick, withinMs: QUICK_MS } : {})
  return suites.includes(DEFAULT) ? { ...outcome, peers: await settingsOf() } : outcome
}

function read(args: string[]) {
  const { positionals, values } = parseArgs({
    args,
    allowPositionals: true,
    strict: true,
    options: {
      json: { type: 'boolean' },
      names: { type: 'boolean' },
      quick: { type: 'boolean' },
      save: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const wishes = positionals.length > 0 ? positionals : [DEFAULT]
  const alone = wishes.length === 1 && ['guard', 'plots'].includes(wishes[0]!)
  const known = wishes.every((wish) => Object.keys(SUITES).some((suite) => meant(wish, suite).length > 0))
  return { ...values, wishes: alone || known ? wishes : undefined }
}

function suitesOf(wishes: readonly string[]): string[] {
  return Object.keys(SUITES).filter((suite) => wishes.some((wish) => meant(wish, suite).length > 0))
}

/** The workloads of a suite that a word of the command line means. */
function meant(wish: string, suite: string): Workload[] {
  if (wish === suite) return [...SUITES[suite]!]
  if (wish.startsWith(`${suite}/`)) return named(wish.slice(suite.length + 1), suite)
  const first = Object.keys(SUITES).find((one) => named(wish, one).length > 0)
  return first === suite ? named(wish, suite) : []
}

function named(name: string, suite: string): Workload[] {
  return SUITES[suite]!.filter(
    (workload) => workload.name === name || workload.goals.some((goal) => goal.name === name),
  )
}

/** A whole suite leaves out what takes long; a quick one leaves out more. */
function wanted(wish: string, suite: string, quick: boolean): Workload[] {
  const all = meant(wish, suite)
  return wish === suite ? all.filter((one) => !one.long && (!quick || one.quick || suite !== DEFAULT)) : all
}

/** Of each side, as the report tells them. */
async function settingsOf() {
  const peers = await peersOf()
  return Object.fromEntries(
    peers.map(({ name, version, settings, effect, cannot }) => [name, { version, settings, effect, cannot }]),
  )
}

function unmeasured(workloads: readonly Workload[]): Outcome {
  const reason = 'nothing was run'
  return { targets: workloads.flatMap(({ goals }) => goals.map((goal) => notRun(goal, reason))), skipped: [] }
}

function measuredAll({ targets, skipped }: Outcome): boolean {
  const left = new Set(skipped.map(({ name }) => name))
  return targets.every(({ name, met }) => met !== null || left.has(name))
}

function survive(error: unknown): void {
  const { code, message } = error as { code?: string; message?: string }
  if (code === '57P01' || code === '3D000' || /Connection terminated/.test(message ?? '')) return
  console.error(error)
  process.exit(1)
}

function refused(): number {
  console.error(USAGE)
  return 2
}

function told(text: string, code: number): number {
  console.log(text)
  return code
}
