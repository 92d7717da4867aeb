import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** The package as npm would publish it, built anew and put into a folder; what npm says of it, with its file. Undefined when it does not build. */
export function pack(folder) {
  const built = spawnSync(process.execPath, ['scripts/build.mjs'], { stdio: ['ignore', 2, 2] })
  if (built.status !== 0) return undefined
  mkdirSync(folder, { recursive: true })
  const { stdout, status } = npm(['pack', '--ignore-scripts', '--json', '--pack-destination', folder])
  if (status !== 0) return undefined
  const [packed] = JSON.parse(stdout)
  return { ...packed, file: resolve(join(folder, packed.filename)) }
}

function npm(args) {
  return spawnSync('npm', args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    shell: process.platform === 'win32',
  })
}
