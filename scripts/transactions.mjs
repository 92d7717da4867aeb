// Publishing and consuming in the transactions of other people's libraries: installs them into test/transactions, and runs it.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const here = join(root, 'test', 'transactions')
const quiet = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error']

// MikroORM names a peer that its registry lacks.
if (!installed()) must('npm', ['ci', '--legacy-peer-deps', ...quiet], here)
// Prisma would fetch an engine that this version has no use for.
if (!existsSync(join(here, 'node_modules/.prisma/client/schema.prisma')))
  must('prisma', ['generate'], here, { PRISMA_SCHEMA_ENGINE_BINARY: process.execPath })
must('tsc', ['--project', here], root)
must('vitest', ['run', '--mode', 'transactions', ...process.argv.slice(2)], root)

function installed() {
  const { packages } = JSON.parse(readFileSync(join(here, 'package-lock.json'), 'utf8'))
  return Object.keys(packages[''].dependencies).every(
    (name) => version(name) === packages[`node_modules/${name}`].version,
  )
}

function version(name) {
  const file = join(here, 'node_modules', name, 'package.json')
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).version : undefined
}

function must(program, args, cwd, more = {}) {
  const path = [join(here, 'node_modules', '.bin'), process.env.PATH].join(process.platform === 'win32' ? ';' : ':')
  const env = { ...process.env, CI: '1', CHECKPOINT_DISABLE: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1', ...more, PATH: path }
  const { status, error } = spawnSync(program, args, {
    cwd,
    env,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (error) console.error(`Cannot run "${program}": ${error.message}`)
  if (status !== 0) process.exit(status ?? 1)
}
