// dist/ anew: tsc, and the program made executable.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
const { status } = spawnSync('tsc', ['--project', 'tsconfig.build.json'], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
})
if (status === 0 && existsSync('dist/cli/main.js')) chmodSync('dist/cli/main.js', 0o755)
process.exitCode = status ?? 1
