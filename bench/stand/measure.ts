import type { EmbeddedPostgres } from '../../src/embedded/index.ts'
import { Bench } from './bench.ts'
import { load, machine } from './machine.ts'
import { runOn, SETTINGS, startServer } from './server.ts'
import { topology } from './shop.ts'
import { type Findings, NOT_ASKED_FOR, notRun, OUT_OF_TIME, reached, type Target, type Workload } from './workload.ts'

export interface Skipped {
  readonly name: string
  readonly reason: string
}

export interface Outcome {
  readonly targets: readonly Target[]
  /** What the suites have beside what was asked for. */
  readonly skipped: readonly Skipped[]
  /** What each workload tells beside its targets. */
  readonly reports?: Readonly<Record<string, unknown>>
  readonly [more: string]: unknown
}

export interface MeasureOptions {
  readonly quick?: boolean
  /** What has not begun by then is skipped, and what has not ended is given up, in milliseconds. */
  readonly withinMs?: number
}

const LEAST_MS = 12_000

/** Runs the workloads that were asked for, one after the other, on one server; the others are told as not run. */
export async function measure(
  workloads: readonly Workload[],
  asked: ReadonlySet<Workload>,
  say: (line: string) => void,
  { quick = false, withinMs = Number.POSITIVE_INFINITY }: MeasureOptions = {},
): Promise<Outcome> {
  const startedAt = new Date()
  const leftMs = () => startedAt.getTime() + withinMs - Date.now()
  const server = await startServer(topology)
  try {
    const targets: Target[] = []
    const reports: Record<string, unknown> = {}
    const skipped: Skipped[] = []
    const skip = (workload: Workload, reason: string) => {
      targets.push(...workload.goals.map((goal) => notRun(goal, reason)))
      skipped.push(...skippedOf(workload, reason))
    }
    for (const workload of workloads) {
      if (!asked.has(workload)) skip(workload, whyNot(workload))
      else if (leftMs() < LEAST_MS) skip(workload, OUT_OF_TIME)
      else targets.push(...(await measureOne(workload, () => new Bench(server, say, { quick }), reports, leftMs())))
    }
    const seconds = Math.round((Date.now() - startedAt.getTime()) / 1_000)
    const postgres = { version: await versionOf(server), settings: SETTINGS }
    return { targets, skipped, startedAt, seconds, quick, machine: machine(), postgres, reports }
  } finally {
    await server.stop()
  }
}

function whyNot({ long }: Workload): string {
  return long ? `not asked for: it takes ${long}, and runs by its name alone` : NOT_ASKED_FOR
}

function skippedOf({ name, goals }: Workload, reason: string): Skipped[] {
  return goals.length > 0 ? goals.map((goal) => ({ name: goal.name, reason })) : [{ name, reason }]
}

async function measureOne(
  workload: Workload,
  stand: () => Bench,
  reports: Record<string, unknown>,
  leftMs: number,
): Promise<Target[]> {
  const { name, goals } = workload
  await using bench = stand()
  const startedAt = performance.now()
  const loadBefore = load()
  try {
    const { measured, report } = await inTime(workload, bench, Math.min(leftMs, workload.deadlineMs))
    const seconds = Math.round((performance.now() - startedAt) / 1_000)
    reports[name] = { ...report, seconds, load: [loadBefore, load()] }
    const targets = goals.map((goal) => reached(goal, measured.find((one) => one.name === goal.name)!))
    for (const target of targets)
      bench.say(`${target.name}: ${target.ours} ${target.unit}, ratio ${target.ratio} (${seconds} s)`)
    return targets
  } catch (error) {
    reports[name] = { error: String(error) }
    bench.say(`${name}: ${error instanceof Error ? error.stack : error}`)
    return goals.map((goal) => notRun(goal, error instanceof Error ? error.message : String(error)))
  }
}

async function inTime(workload: Workload, bench: Bench, deadlineMs: number): Promise<Findings> {
  const late = Promise.withResolvers<never>()
  const reason = `Cannot measure "${workload.name}": not within ${deadlineMs} ms`
  const timer = setTimeout(() => late.reject(new Error(reason)), deadlineMs)
  const run = workload.run(bench)
  run.catch(() => {})
  try {
    return await Promise.race([run, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

async function versionOf(server: EmbeddedPostgres): Promise<string> {
  const { rows } = await runOn(server.url, 'show server_version')
  return rows[0].server_version
}
