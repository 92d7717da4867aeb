#!/usr/bin/env node
// node scripts/ensure.mjs <script> [arguments…]: sets up what is missing, then runs the script on the Node this repository pins.
// Plain old JavaScript on purpose: it is the one file that must run on whatever Node a machine has.
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const NEEDED = 24
const OLDEST = 18
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const nodePackage = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`

if (major(process.version) < OLDEST) {
  fail(
    `Posthaste's scripts need Node ${OLDEST} or newer to begin with, and this is ${process.version}: https://nodejs.org`,
  )
}
await setUp()
run(process.argv.slice(2))

async function setUp() {
  if (!missing()) return
  const release = await lock()
  try {
    for (const node of [process.execPath, pinnedNode()]) {
      if (node && missing()) install(node)
    }
  } finally {
    release()
  }
  const still = missing()
  if (still)
    fail(
      `Cannot set up "node_modules": ${still} is missing after npm ci; see what npm says to: npm ci --ignore-scripts`,
    )
}

/** The first package that the lockfile asks for and node_modules does not hold in that version. */
function missing() {
  const { packages } = read('package-lock.json')
  for (const [path, wanted] of Object.entries(packages)) {
    if (!path.startsWith('node_modules/') || wanted.link || !needed(wanted)) continue
    if (installedVersion(path) !== wanted.version) return path.slice('node_modules/'.length)
  }
}

// Of the optional packages only those made for this very machine are missed: npm leaves the others out, and so do we.
function needed({ optional, os, cpu, libc }) {
  return (
    !optional || (os !== undefined && fits(os, process.platform) && fits(cpu, process.arch) && fits(libc, libcName()))
  )
}

function fits(wanted, actual) {
  return wanted === undefined || wanted.includes(actual)
}

function libcName() {
  return process.platform !== 'linux' || process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl'
}

function installedVersion(path) {
  try {
    return read(join(path, 'package.json')).version
  } catch {
    return undefined
  }
}

// Nothing here needs an install script, and leaving them out saves the native builds of packages that do very well without.
// What a caller's environment says about production or omitted packages is not meant for this repository's own set-up.
function install(node) {
  process.stderr.write('posthaste: setting up node_modules, once (npm ci)\n')
  const args = ['ci', '--ignore-scripts', '--include=dev', '--include=optional', '--include=peer']
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error', '--no-progress']
  const env = { ...process.env, NODE_ENV: '', npm_config_dry_run: '', npm_config_global: '' }
  const npm = process.env.npm_execpath
  const known = npm && /npm-cli\.[cm]?js$/.test(npm)
  const done = known
    ? spawnSync(node, [npm, ...args, ...quiet], { cwd: root, env, stdio: ['ignore', 2, 2] })
    : spawnSync('npm', [...args, ...quiet], {
        cwd: root,
        env,
        stdio: ['ignore', 2, 2],
        shell: process.platform === 'win32',
      })
  if (done.error) fail(`Cannot run npm: ${done.error.message}`)
  if (done.status !== 0)
    fail(`Cannot set up "node_modules": npm ci ended with ${done.status === null ? done.signal : done.status}`)
}

// Two commands started at once in a bare clone: the second waits for the first.
async function lock() {
  mkdirSync(join(root, '.posthaste'), { recursive: true })
  const file = join(root, '.posthaste', 'setup.lock')
  for (;;) {
    try {
      const handle = openSync(file, 'wx')
      writeSync(handle, String(process.pid))
      closeSync(handle)
      return () => rmSync(file, { force: true })
    } catch (error) {
      if (error.code !== 'EEXIST') fail(`Cannot write "${file}": ${error.message}`)
      if (!alive(holder(file))) rmSync(file, { force: true })
      else await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}

function holder(file) {
  try {
    return Number(readFileSync(file, 'utf8')) || process.pid
  } catch {
    return process.pid
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function pinnedNode() {
  const directory = join(root, 'node_modules', nodePackage, 'bin')
  const file = join(directory, process.platform === 'win32' ? 'node.exe' : 'node')
  return existsSync(file) ? file : undefined
}

// The script's own children find the same Node first on their path. The leash ends the script when we are killed.
function run(args) {
  const node = pinnedNode() || (major(process.version) >= NEEDED ? process.execPath : undefined)
  if (!node)
    fail(
      `Posthaste's scripts need Node ${NEEDED}, this is ${process.version}, and npm has none for ${process.platform}-${process.arch}: https://nodejs.org`,
    )
  if (args.length === 0) return
  const leash = pathToFileURL(join(root, 'scripts', 'leash.mjs')).href
  const path = [dirname(node), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter)
  const child = spawn(node, ['--import', leash, ...args], {
    stdio: 'inherit',
    env: { ...process.env, PATH: path, POSTHASTE_LEASH: String(process.pid) },
  })
  followTheParent(child)
  followSignals(child)
  child.on('error', (error) => fail(`Cannot run "${node}": ${error.message}`))
  child.on('exit', (code, signal) => {
    process.exitCode = code === null ? 128 + (signal === 'SIGINT' ? 2 : signal === 'SIGTERM' ? 15 : 9) : code
  })
}

// npm killed, SIGKILL included: the script gets a moment to end in order.
function followTheParent(child) {
  const lineage = ancestors()
  const watch = setInterval(() => {
    if (ancestors() === lineage) return
    clearInterval(watch)
    child.kill('SIGTERM')
    setTimeout(() => child.kill('SIGKILL'), 1000).unref()
  }, 200)
  watch.unref()
}

// Between npm and us stands a shell that outlives it.
function ancestors() {
  const parent = process.ppid
  if (!process.env.npm_lifecycle_event || process.platform !== 'linux') return `${parent}`
  try {
    const [, name, rest] = /\((.*)\) (.*)/.exec(readFileSync(`/proc/${parent}/stat`, 'utf8'))
    return /^(da|ba|a)?sh$/.test(name) ? `${parent} ${rest.split(' ')[1]}` : `${parent}`
  } catch {
    return ''
  }
}

// A terminal's Ctrl-C reaches the script by itself.
function followSignals(child) {
  const conveyed = process.stdin.isTTY ? ['SIGTERM', 'SIGHUP'] : ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of conveyed) process.on(signal, () => child.kill(signal))
  if (process.stdin.isTTY) process.on('SIGINT', () => {})
}

function read(path) {
  return JSON.parse(readFileSync(join(root, path), 'utf8'))
}

function major(version) {
  return Number(version.slice(1).split('.')[0])
}

function fail(sentence) {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}
