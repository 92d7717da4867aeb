import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, scratch } from '../support/process.ts'

const script = (name: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  spawnSync(process.execPath, [join(ROOT, 'scripts', name), ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    encoding: 'utf8',
  })

// testcontainers looks there whatever it is told.
const docker = existsSync('/var/run/docker.sock')
if (docker) console.warn('skipped: there is a container runtime, and what happens without one cannot be seen')

test.skipIf(docker)('without a container runtime test:containers says so, and fails', { timeout: 60_000 }, () => {
  using home = scratch()
  const nowhere = `unix://${join(home.path, 'docker.sock')}`
  const env = { DOCKER_HOST: nowhere, XDG_RUNTIME_DIR: home.path, HOME: home.path, DOCKER_CONFIG: home.path }
  const { status, stderr } = script('containers.mjs', ['postgres:15'], env)
  expect(stderr).toContain('Cannot test on containers: no container runtime answers')
  expect(stderr).toContain('npm run test:versions')
  expect(status).toBe(1)
})

test('a version that is not published is refused with those that are', () => {
  const { status, stderr } = script('versions.mjs', ['13'])
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: 'Cannot test on PostgreSQL "13": there are 14, 15, 16, 17, 18\n',
  })
})
