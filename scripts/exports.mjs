// What package.json promises is in the package that npm would publish, for those who import it, type it and install it.
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pack } from './pack.mjs'

// 12 % above what it has with streams, flow and encryption. A dashboard, when there is one, has a budget of its own.
const BUDGET = { packed: 500_000, unpacked: 1_800_000 }
const BELONGS = /^(dist\/.+\.(js|d\.ts)|migrations\/.+\.sql|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/

const { name, exports, bin } = JSON.parse(readFileSync('package.json', 'utf8'))
const folder = join('.posthaste', 'package')
rmSync(folder, { recursive: true, force: true })
const packed = pack(folder)
const complaints = packed
  ? [...missing(), ...strangers(), ...tooLarge(), ...(await unimportable()), ...said()]
  : ['it does not build']
for (const complaint of complaints) console.error(`Cannot publish "${name}": ${complaint}`)
if (packed)
  console.log(`${name}: ${packed.size} bytes packed, ${packed.unpackedSize} unpacked, ${packed.files.length} files`)
process.exitCode = complaints.length > 0 ? 1 : 0

function missing() {
  const entries = [...Object.values(exports), bin].flatMap((entry) =>
    typeof entry === 'string' ? entry : Object.values(entry),
  )
  const promised = [...entries.map((file) => file.replace(/^\.\//, '')), ...globSync('migrations/**/*.sql')]
  const there = new Set(packed.files.map(({ path }) => path))
  return promised.filter((file) => !there.has(file.replaceAll('\\', '/'))).map((file) => `${file} is missing`)
}

function strangers() {
  return packed.files.filter(({ path }) => !BELONGS.test(path)).map(({ path }) => `${path} does not belong into it`)
}

function tooLarge() {
  return [
    packed.size > BUDGET.packed && `it has ${packed.size} bytes packed, and ${BUDGET.packed} are its budget`,
    packed.unpackedSize > BUDGET.unpacked &&
      `it has ${packed.unpackedSize} bytes, and ${BUDGET.unpacked} are its budget`,
  ].filter(Boolean)
}

async function unimportable() {
  const entries = Object.keys(exports).filter((entry) => !entry.endsWith('.json'))
  const tried = entries.map((entry) =>
    import(`${name}${entry.slice(1)}`).then(
      () => [],
      (error) => [`${entry}: ${error.message}`],
    ),
  )
  return (await Promise.all(tried)).flat()
}

function said() {
  const tools = [
    ['publint', 'run', packed.file, '--strict'],
    ['attw', packed.file, '--profile', 'esm-only', '--no-color', '--no-emoji'],
  ]
  return tools.flatMap(([program, ...args]) => {
    const { status, stdout, stderr } = spawnSync(program, args, {
      encoding: 'utf8',
      shell: process.platform === 'win32',
    })
    return status === 0 ? [] : [`${program} says\n${stdout}${stderr}`]
  })
}
