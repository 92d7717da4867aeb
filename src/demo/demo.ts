import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { Findings } from './audit.ts'
import type { Kills } from './chaos.ts'
import { Day } from './day.ts'
import { DemoFailure } from './failure.ts'
import { Interruption } from './interruption.ts'
import { openSite, type Site } from './site.ts'
import { warmUp } from './staff.ts'
import { View } from './view.ts'

export interface DemoOptions {
  /** How many orders the producers place. @default 5_000 */
  readonly orders?: number | undefined
  /** Which orders they are, and when the blows fall. @default 1 */
  readonly seed?: number | undefined
  /** Whether processes are killed and connections terminated meanwhile. @default true */
  readonly chaos?: boolean | undefined
  /** Whether the database and the producers' record stay when the demo has ended. @default false */
  readonly keep?: boolean | undefined
  /** Whether stdout gets the result as one JSON object, in its last line; the progress goes to stderr. @default false */
  readonly json?: boolean | undefined
  /** A mistake made on purpose, behind the library's back: the demo must find it. @default none */
  readonly inject?: 'loss' | 'duplicate' | undefined
}

const OPTIONS = z.strictObject({
  orders: z.int().min(1).max(10_000_000).default(5_000),
  seed: z.int().default(1),
  chaos: z.boolean().default(true),
  keep: z.boolean().default(false),
  json: z.boolean().default(false),
  inject: z.enum(['loss', 'duplicate']).optional(),
})

type Settings = z.output<typeof OPTIONS>

/** What `--json` prints. The addresses lead somewhere only with `keep`. */
export interface DemoResult {
  readonly orders: Findings['orders']
  readonly effects: Findings['effects']
  readonly lost: number
  readonly duplicates: number
  readonly phantoms: number
  readonly oversold: number
  readonly kills: Kills
  readonly throughputPerSecond: number
  readonly latencyMs: Findings['latencyMs']
  readonly auditDifference: number
  readonly databaseUrl: string
  readonly intents: string
}

/**
 * A shop at work: producers place orders in transactions, the relay and the workers of three services run in processes of their
 * own, and all of them are killed again and again. Then everything is counted. 0 when no order was lost and nothing happened
 * twice, or that should not have; 1 otherwise.
 */
export async function demo(options: DemoOptions = {}): Promise<number> {
  const settings = OPTIONS.parse(options)
  const { orders, seed, chaos } = settings
  const view = new View({ orders, seed, chaos, stream: settings.json ? process.stderr : process.stdout })
  using interruption = new Interruption()
  try {
    const result = await hosted(settings, view, interruption.signal)
    if (settings.json) process.stdout.write(`${JSON.stringify({ version: 1, ...result })}\n`)
    return isFlawless(result) ? 0 : 1
  } catch (error) {
    if (interruption.signal.aborted) view.say('Interrupted: everything is stopped and removed')
    else if (error instanceof DemoFailure) view.say(error.message)
    else throw error
    return interruption.exitCode || 1
  }
}

/** Whatever happens inside, what was opened is removed, unless it came to its end and is to be kept. */
async function hosted(settings: Settings, view: View, signal: AbortSignal): Promise<DemoResult> {
  const directory = mkdtempSync(join(tmpdir(), 'posthaste-demo-'))
  const intents = join(directory, 'intents.ndjson')
  const cache = join(directory, 'cache')
  const warm = warmUp(cache)
  const remove = () => rmSync(directory, { recursive: true, force: true })
  process.once('exit', remove)
  let site: Site | undefined
  let keep = false
  try {
    site = await openSite('posthaste_demo', (line) => view.say(line))
    await warm
    signal.throwIfAborted()
    const day = new Day({ ...settings, url: site.url, intents, cache, view })
    const { findings, kills, auditDifference } = await day.pass(signal)
    rmSync(cache, { recursive: true, force: true })
    keep = settings.keep
    if (keep) announce(view, site, directory, intents)
    return resultOf(findings, kills, { auditDifference, databaseUrl: site.url, intents })
  } finally {
    await warm
    if (!keep) await site?.close()
    if (!keep) remove()
    process.off('exit', remove)
  }
}

function announce(view: View, site: Site, directory: string, intents: string): void {
  view.say('')
  view.say(`The database stays at  ${site.url}`)
  view.say(`The record stays at    ${intents}`)
  view.say(`Remove both with       ${site.keep()}; rm -rf ${directory}`)
}

function resultOf(
  { orders, effects, lost, duplicates, phantoms, oversold, throughputPerSecond, latencyMs }: Findings,
  kills: Kills,
  rest: Pick<DemoResult, 'auditDifference' | 'databaseUrl' | 'intents'>,
): DemoResult {
  return { orders, effects, lost, duplicates, phantoms, oversold, kills, throughputPerSecond, latencyMs, ...rest }
}

function isFlawless({ lost, duplicates, phantoms, oversold, auditDifference }: DemoResult): boolean {
  return [lost, duplicates, phantoms, oversold, auditDifference].every((count) => count === 0)
}
