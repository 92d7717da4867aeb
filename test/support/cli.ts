import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ROOT } from './process.ts'

export interface CliOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly stdin?: string | Uint8Array
}

export interface CliResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Starts the command line as a process of its own, with nothing of this one's databases, colours or configuration. */
export function spawnCli(args: readonly string[], { env = {}, cwd = '/' }: CliOptions = {}): ChildProcess {
  return spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), ...args], { cwd, env: { ...clean(), ...env } })
}

/** Runs the command line to its end. */
export async function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const child = spawnCli(args, options)
  child.stdin!.on('error', () => {}).end(options.stdin ?? '')
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'close')])
  return { code, stdout, stderr }
}

function clean(): NodeJS.ProcessEnv {
  const foreign = /^(PG.*|DATABASE_URL|POSTHASTE_.*|NO_COLOR|FORCE_COLOR|NODE_OPTIONS|VITEST.*|NODE_ENV)$/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)))
}
