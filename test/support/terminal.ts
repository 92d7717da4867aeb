import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { ROOT } from './process.ts'
import { until } from './until.ts'

/** Why there are no terminals here: `test.skipIf(noTerminal)`. */
export const noTerminal: string | undefined = reason()

/** The command line as a person at a terminal sees it. What the terminal echoes is part of what is seen. */
export interface Seen {
  readonly child: ChildProcess
  readonly screen: () => string
  type(text: string): void
  /** Resolves when the text has come. */
  shows(text: string | RegExp): Promise<void>
  readonly ended: Promise<number | null>
}

export function atTerminal(args: readonly string[], env: NodeJS.ProcessEnv = {}): Seen {
  const command = [process.execPath, join(ROOT, 'src/cli/main.ts'), ...args].map((word) => `'${word}'`).join(' ')
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { ...persons(), TERM: 'xterm-256color', NODE_NO_WARNINGS: '1', ...env },
    cwd: '/',
  })
  let screen = ''
  child.stdout.on('data', (chunk) => (screen += chunk))
  child.stderr.on('data', (chunk) => (screen += chunk))
  const ended = once(child, 'close').then(([code]) => code as number | null)
  const shows = async (text: string | RegExp) => {
    const there = () => (typeof text === 'string' ? screen.includes(text) : text.test(screen))
    await until(there, { timeoutMs: 30_000, what: `${text} in ${JSON.stringify(screen)}` })
  }
  return { child, screen: () => screen, type: (text) => void child.stdin.write(text), shows, ended }
}

// Node takes a terminal's colours away where CI, NO_COLOR or the like is set, as it may be around these tests.
function persons(): NodeJS.ProcessEnv {
  const foreign = /^(CI|TEAMCITY_VERSION|TF_BUILD|NO_COLOR|NODE_DISABLE_COLORS|FORCE_COLOR|COLORTERM)$/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)))
}

function reason(): string | undefined {
  if (spawnSync('script', ['--version']).status === 0) return undefined
  console.warn('skipped: no terminal can be made, as util-linux’ script is not there')
  return 'script is not there'
}
