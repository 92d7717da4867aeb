import { spawnSync } from 'node:child_process'

const files = process.argv.length > 2 ? process.argv.slice(2) : ['.']
const { status } = spawnSync('biome', ['check', '--write', ...files], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
})
process.exitCode = status ?? 1
