import { spawnSync } from 'node:child_process'
import { delimiter, dirname, join } from 'node:path'

/** Runs the tests that speak to a server on one server after the other, also after one has failed, and tells how each did. */
export function onEach(servers, args) {
  const results = servers.map(({ name, env }) => ({ name, ...runOn(name, env, args) }))
  console.log()
  for (const { name, passed, seconds } of results) console.log(`${passed ? 'ok    ' : 'failed'} ${name} ${seconds} s`)
  process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
}

function runOn(name, environment, args) {
  console.log(`\n${name}`)
  const started = performance.now()
  try {
    const path = [dirname(process.execPath), join('node_modules', '.bin'), process.env.PATH].join(delimiter)
    const { status } = spawnSync('vitest', ['run', '--mode', 'server', ...args], {
      env: { ...process.env, ...environment(), PATH: path },
      stdio: 'inherit',
      shell: process.platform === 'win32',
    })
    return { passed: status === 0, seconds: Math.round((performance.now() - started) / 1000) }
  } catch (error) {
    console.error(error.message)
    return { passed: false, seconds: Math.round((performance.now() - started) / 1000) }
  }
}
