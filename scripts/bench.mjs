// The bench has packages of its own (the peers it measures against): they are installed when missing, then bench/main.ts runs.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'

const quiet = ['--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts', '--include=dev', '--include=optional']
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']

if (!existsSync('bench/package.json')) stop('Cannot run "bench": bench/package.json is missing')
if (stale()) install()
run(process.argv.slice(2))

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

// The leash ends the bench, and with it its server and processes, when this process is killed.
function run(args) {
  const child = spawn(process.execPath, ['--import', './scripts/leash.mjs', 'bench/main.ts', ...args], {
    stdio: 'inherit',
    env: { ...process.env, POSTHASTE_LEASH: String(process.pid) },
  })
  for (const signal of signals) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => {
    process.exitCode = code === null ? 128 + (signal === 'SIGINT' ? 2 : 15) : code
  })
}

function stop(sentence) {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}
