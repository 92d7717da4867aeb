import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ROOT } from '../support/process.ts'
import { run } from '../support/server.ts'

// Inside the repository, so that the runners' own packages are found.
const home = (() => {
  mkdirSync(join(ROOT, '.posthaste'), { recursive: true })
  return mkdtempSync(join(ROOT, '.posthaste', 'runners-'))
})()

const FILE = (runner: string) => `
import { test } from '${runner}'
import assert from 'node:assert'
import { createTestDatabase } from '${ROOT}src/testing.ts'
const database = await createTestDatabase()
test('a database of its own on the server of the run', async () => {
  const { rows } = await database.pool.query('select current_database() as name')
  assert.ok(rows[0].name.startsWith(process.env.POSTHASTE_TEST_RUN))
  console.log('server', new URL(database.url).port, 'run', process.env.POSTHASTE_TEST_RUN)
  await database.drop()
})
`

beforeAll(() => {
  writeFileSync(
    join(home, 'setup.ts'),
    `export { default, globalSetup, globalTeardown } from '${ROOT}src/testing/setup.ts'\n`,
  )
  writeFileSync(
    join(home, 'vitest.config.ts'),
    `export default { test: { root: ${JSON.stringify(home)}, include: ['*.vitest.ts'], globalSetup: ['./setup.ts'] } }\n`,
  )
  for (const name of ['a', 'b']) {
    writeFileSync(join(home, `${name}.node.ts`), FILE('node:test'))
    writeFileSync(join(home, `${name}.vitest.ts`), FILE('vitest'))
  }
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

const RUNNERS = {
  'node:test': ['--test', '--test-global-setup=./setup.ts', 'a.node.ts', 'b.node.ts'],
  vitest: [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--config', 'vitest.config.ts'],
}

test.concurrent.each(Object.entries(RUNNERS))(
  'with %s, the processes of a run share the server given, and leave nothing on it',
  async (_, args) => {
    const { url } = inject('server')
    const { code, output } = await runner(args, { POSTHASTE_TEST_URL: url })
    expect({ code, output }).toEqual({ code: 0, output: expect.any(String) })
    expect(portsOf(output)).toEqual([new URL(url).port, new URL(url).port])
    const name = /run (posthaste_test_\w+)/.exec(output)![1]!
    const { rows } = await run(url, `select datname from pg_database where starts_with(datname, '${name}')`)
    expect(rows).toEqual([])
  },
)

test.concurrent('without one, an embedded server is started for all of them', async (context) => {
  if (process.env.TEST_DATABASE_URL) context.skip('a machine that brings its own database may lack the embedded one')
  const { code, output } = await runner(RUNNERS['node:test'], {})
  expect({ code, output }).toEqual({ code: 0, output: expect.any(String) })
  const [first, second] = portsOf(output)
  expect(first).toBe(second)
})

function portsOf(output: string): string[] {
  return [...output.matchAll(/server (\d+)/g)].map(([, port]) => port!)
}

async function runner(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ code: number | null; output: string }> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(VITEST|NODE_ENV|NODE_TEST|POSTHASTE|TEST_)/.test(name),
  )
  const child = spawn(process.execPath, args, {
    cwd: home,
    env: { ...Object.fromEntries(inherited), NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  child.stderr.on('data', (data) => (output += data))
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject))
  return { code, output }
}
