// node scripts/check.mjs [--all | --only name,name] [-- vitest arguments]: every check runs, also after one has failed.
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bin = join(root, 'node_modules', '.bin')
const COUNTS = join(root, '.posthaste', 'counts')
const PACKAGE = join(root, '.posthaste', 'package')

const CHECKS = {
  format: ['biome', 'ci', `--colors=${process.stdout.isTTY ? 'force' : 'off'}`, '.'],
  floors: ['node', 'scripts/floors.mjs'],
  types: ['tsc', '--project', 'tsconfig.json'],
  tests: ['vitest', 'run'],
  long: ['vitest', 'run', '--mode', 'long'],
  exports: ['node', 'scripts/exports.mjs'],
  transactions: ['node', 'scripts/transactions.mjs'],
  docs: ['node', 'scripts/docs.mjs', '--check'],
}
const USUAL = ['format', 'floors', 'types', 'exports', 'tests']

const args = process.argv.slice(2)
const names = chosen()
const counted = names.some((name) => ['tests', 'long', 'transactions'].includes(name))
if (counted) rmSync(COUNTS, { force: true })

const passed = new Set()
const failures = names.filter((name) => !passes(name))
if (failures.length > 0) console.error(`\nfailed: ${failures.join(', ')}`)
if (counted) console.log(counts())
process.exitCode = failures.length > 0 ? 1 : 0

function chosen() {
  if (args[0] === '--all') return args.splice(0, 1) && [...USUAL, 'docs', 'transactions']
  if (args[0] === '--only') return args.splice(0, 2)[1].split(',')
  return USUAL
}

function passes(name) {
  const [program, ...rest] = CHECKS[name]
  const more = program === 'vitest' ? args : []
  const started = performance.now()
  const env = { ...process.env, PATH: [dirname(process.execPath), bin, process.env.PATH].join(delimiter) }
  if (passed.has('exports')) env.POSTHASTE_PACKAGE = PACKAGE
  const { status, error } = spawnSync(program, [...rest, ...more], {
    cwd: root,
    env,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (error) console.error(`Cannot run "${program}": ${error.message}`)
  console.log(`${status === 0 ? 'ok    ' : 'failed'} ${name} ${Math.round(performance.now() - started)} ms`)
  if (status === 0) passed.add(name)
  return status === 0
}

function counts() {
  try {
    return readFileSync(COUNTS, 'utf8').trim()
  } catch {
    return '0 passed, 0 failed, 0 skipped'
  }
}
