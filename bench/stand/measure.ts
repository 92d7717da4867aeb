import type { EmbeddedPostgres } from '../../src/embedded/index.ts'
import { Bench } from './bench.ts'
import { load, machine } from './machine.ts'
import { runOn, SETTINGS, startServer } from './server.ts'
import { topology } from './shop.ts'
import { type Findings, notRun, reached, type Target, type Workload } from './workload.ts'

export interface Outcome {
  readonly targets: readonly Target[]
  /** What each workload tells beside its targets. */
  readonly reports?: Readonly<Record<string, unknown>>
  readonly [more: string]: unknown
}

/** Runs the workloads that were asked for, one after the other, on one server; the others are told as not run. */
export async function measure(
  workloads: readonly Workload[],
  asked: ReadonlySet<Workload>,
  say: (line: string) => void,
): Promise<Outcome> {
  const startedAt = new Date()
  const server = await startServer(topology)
  try {
    const targets: Target[] = []
    const reports: Record<string, unknown> = {}
    for (const workload of workloads) {
      if (!asked.has(workload)) targets.push(...workload.goals.map((goal) => notRun(goal, 'not asked for')))
      else targets.push(...(await measureOne(workload, server, reports, say)))
    }
    const seconds = Math.round((Date.now() - startedAt.getTime()) / 1_000)
    const postgres = { version: await versionOf(server), settings: SETTINGS }
    return { targets, startedAt, seconds, machine: machine(), postgres, reports }
  } finally {
    await server.stop()
  }
}

async function measureOne(
  workload: Workload,
  server: EmbeddedPostgres,
  reports: Record<string, unknown>,
  say: (line: string) => void,
): Promise<Target[]> {
  const { name, goals } = workload
  const startedAt = performance.now()
  const loadBefore = load()
  try {
    const { measured, report } = await inTime(workload, server, say)
    const seconds = Math.round((performance.now() - startedAt) / 1_000)
    reports[name] = { ...report, seconds, load: [loadBefore, load()] }
    const targets = goals.map((goal) => reached(goal, measured.find((one) => one.name === goal.name)!))
    for (const target of targets)
      say(`${target.name}: ${target.ours} ${target.unit}, ratio ${target.ratio} (${seconds} s)`)
    return targets
  } catch (error) {
    reports[name] = { error: String(error) }
    say(`${name}: ${error instanceof Error ? error.stack : error}`)
    return goals.map((goal) => notRun(goal, error instanceof Error ? error.message : String(error)))
  }
}

async function inTime(workload: Workload, server: EmbeddedPostgres, say: (line: string) => void): Promise<Findings> {
  const late = Promise.withResolvers<never>()
  const reason = `Cannot measure "${workload.name}": not within ${workload.deadlineMs} ms`
  const timer = setTimeout(() => late.reject(new Error(reason)), workload.deadlineMs)
  await using bench = new Bench(server, say)
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
