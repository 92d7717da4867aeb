// The bench has packages of its own (the peers it measures against): they are installed when missing, then bench/main.ts runs.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'

const quiet = ['--no-audit', '--no-fund', '--loglevel=error', '--include=dev', '--include=optional']

if (!existsSync('bench/package.json')) stop('Cannot run "bench": bench/package.json is missing')
if (stale()) install()
const { status } = spawnSync(process.execPath, ['bench/main.ts', ...process.argv.slice(2)], { stdio: 'inherit' })
process.exitCode = status ?? 1

function stale() {
  const made = 'bench/node_modules/.package-lock.json'
  if (!existsSync(made)) return true
  const asked = ['bench/package.json', 'bench/package-lock.json'].filter(existsSync)
  return asked.some((file) => statSync(file).mtimeMs > statSync(made).mtimeMs)
}

function install() {
  process.stderr.write('posthaste: setting up bench/node_modules\n')
  const how = existsSync('bench/package-lock.json') ? 'ci' : 'install'
  const { status } = spawnSync('npm', [how, ...quiet], {
    cwd: 'bench',
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (status !== 0) stop(`Cannot set up "bench/node_modules": npm ${how} ended with ${status}`)
}

function stop(sentence) {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}
