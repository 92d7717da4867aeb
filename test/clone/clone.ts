import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'
import { lives, ROOT, systemNode } from '../support/process.ts'
import { until } from '../support/until.ts'

const LEFT_BEHIND = new Set(['node_modules', '.git', '.posthaste', 'dist'])

export interface Ended {
  readonly status: number | null
  readonly out: string
}

/** This repository as somebody has just cloned it, below a home of mode 0700, with nothing installed. */
export class Clone implements Disposable {
  readonly #home = mkdtempSync('/var/tmp/posthaste-home-')
  readonly #temporary = mkdtempSync('/var/tmp/posthaste-clone-tmp-')
  readonly path = join(this.#home, 'posthaste')
  /** The Node and the npm of the machine, or those that were asked for. */
  readonly #node: string
  readonly #npm: string[]

  constructor({ npm }: { npm?: string } = {}) {
    cpSync(ROOT, this.path, { recursive: true, filter: (file) => !LEFT_BEHIND.has(basename(file)) })
    chmodSync(this.#home, 0o700)
    chmodSync(this.#temporary, 0o755)
    this.#node = npm === undefined ? (systemNode() ?? process.execPath) : process.execPath
    this.#npm = npm === undefined ? ['npm'] : [this.#node, this.#fetch(npm)]
  }

  /** Runs npm to its end. */
  npm(...args: string[]): Ended {
    const [program, ...first] = this.#npm as [string, ...string[]]
    const options = { cwd: this.path, env: this.#env(), encoding: 'utf8', timeout: 300_000 } as const
    const { status, stdout, stderr } = spawnSync(program, [...first, ...args], options)
    return { status, out: stdout + stderr }
  }

  /** Starts npm in a terminal, where Ctrl-C can be typed: util-linux' `script` makes one. */
  atTerminal(...args: string[]) {
    const command = [...this.#npm, ...args].map((word) => `'${word}'`).join(' ')
    const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      cwd: this.path,
      env: { ...this.#env(), TERM: 'xterm-256color' },
    })
    let screen = ''
    child.stdout.on('data', (chunk) => (screen += chunk))
    child.stderr.on('data', (chunk) => (screen += chunk))
    const ended = once(child, 'close').then(([code]) => code as number | null)
    return {
      child: child as ChildProcess,
      screen: () => screen,
      type: (text: string) => void child.stdin.write(text),
      ended,
    }
  }

  /** Everything that was started from here and lives: they all have its folder for temporary files. */
  family(): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    return pids.filter((pid) => read(`/proc/${pid}/environ`).includes(this.#temporary)).map(Number)
  }

  /** The servers among them, with their backends. */
  servers(): number[] {
    const postmasters = this.family().filter((pid) => programOf(pid) === 'postgres')
    return [...postmasters, ...postmasters.flatMap((pid) => childrenOf(pid))]
  }

  [Symbol.dispose](): void {
    for (const pid of this.family()) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // it has just ended
      }
    }
    for (const path of [this.#home, this.#temporary]) rmSync(path, { recursive: true, force: true, maxRetries: 10 })
  }

  #fetch(version: string): string {
    const folder = join(this.#home, 'npm')
    mkdirSync(folder)
    const quiet = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    const { status, stderr } = spawnSync('npm', ['install', '--prefix', folder, ...quiet, `npm@${version}`], {
      env: this.#env(),
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`npm install npm@${version}: ${stderr}`)
    return join(folder, 'node_modules/npm/bin/npm-cli.js')
  }

  // Nothing of this repository, of the npm that runs these tests, or of a database that happens to be named.
  #env(): NodeJS.ProcessEnv {
    const foreign =
      /^(npm_(?!config_(cache|registry|userconfig|globalconfig))|PG|DATABASE_URL|TEST_|VITEST|NODE_OPTIONS|NODE_ENV|POSTHASTE|CI$)/
    const known = Object.entries(process.env).filter(([name]) => !foreign.test(name))
    const path = (process.env.PATH ?? '').split(delimiter).filter((entry) => !entry.includes('node_modules'))
    return {
      ...Object.fromEntries(known),
      PATH: [dirname(this.#node), ...path].join(delimiter),
      npm_config_prefer_offline: 'true',
      TMPDIR: this.#temporary,
    }
  }
}

/** Resolves with the servers of a demo that has begun to place orders. */
export async function atWork(clone: Clone, demo: { screen: () => string }): Promise<number[]> {
  const placed = () => / [1-9][\d,]* orders placed/.test(demo.screen())
  await until(placed, { timeoutMs: 240_000, what: `orders in ${demo.screen()}` })
  return clone.servers()
}

export function programOf(pid: number): string {
  return /^Name:\s+(.*)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? ''
}

export function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
}

function childrenOf(parent: number): number[] {
  return read(`/proc/${parent}/task/${parent}/children`).split(' ').filter(Boolean).map(Number).filter(lives)
}

function read(file: string): string {
  try {
    return existsSync(file) ? readFileSync(file, 'utf8') : ''
  } catch {
    return ''
  }
}
