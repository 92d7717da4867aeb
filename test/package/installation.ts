import { spawnSync } from 'node:child_process'
import { cpSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { pack } from '../../scripts/pack.mjs'
import { ROOT } from '../support/process.ts'

/** A folder of a stranger's, with what npm installs into it and nothing of this repository. */
export class Installation {
  readonly path: string = mkdtempSync('/var/tmp/posthaste-installation-')

  /** `npm install …`, as anybody would; what is in npm's cache already is not fetched again. */
  install(...packages: string[]): void {
    const quiet = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
    const { status, stderr } = this.run('npm', ['install', ...quiet, ...packages])
    if (status !== 0) throw new Error(`npm install ${packages.join(' ')}: ${stderr}`)
  }

  /** Runs a text as a program of its own, ESM or, named *.cjs, CommonJS. */
  program(name: string, text: string, options: { args?: string[]; env?: NodeJS.ProcessEnv } = {}) {
    const file = this.write(name, text)
    return this.run(process.execPath, [...(options.args ?? []), file], options.env)
  }

  write(name: string, text: string): string {
    const file = join(this.path, name)
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, text)
    return file
  }

  run(program: string, args: string[], env: NodeJS.ProcessEnv = {}) {
    return spawnSync(program, args, {
      cwd: this.path,
      env: { ...strangersEnvironment(), ...env },
      encoding: 'utf8',
      timeout: 120_000,
      killSignal: 'SIGKILL',
    })
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 10 })
  }
}

/** The tarball of this checkout, in a folder of the installation's: the one that was just checked, or one that is made now. */
export function tarballOf(installation: Installation): string {
  const folder = `${installation.path}-tarball`
  const { POSTHASTE_PACKAGE: checked } = process.env
  if (checked === undefined) return packed(folder)
  cpSync(checked, folder, { recursive: true })
  return join(folder, globSync('*.tgz', { cwd: folder })[0]!)
}

function packed(folder: string): string {
  const made = pack(folder)
  if (!made) throw new Error('the package does not build')
  return made.file
}

// Neither this repository's programs nor its npm run, nor a database that happens to be named.
function strangersEnvironment(): NodeJS.ProcessEnv {
  const path = (process.env.PATH ?? '').split(delimiter).filter((entry) => !entry.startsWith(ROOT))
  const known = Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(?!config_(cache|registry|userconfig|globalconfig))|PG|DATABASE_URL|TEST_|VITEST|NODE_OPTIONS|NODE_ENV|POSTHASTE)/.test(
        name,
      ),
  )
  return { ...Object.fromEntries(known), PATH: [join(process.execPath, '..'), ...path].join(delimiter) }
}
