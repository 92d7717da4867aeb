import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { candidates, type NamesOf } from '../../src/cli/completion.ts'
import { scripts } from '../../src/cli/completion-scripts.ts'
import { wholeProgram } from '../../src/cli/program.ts'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { ROOT, scratch } from '../support/process.ts'
import { everyCommand } from '../support/program.ts'
import { until } from '../support/until.ts'

// Each completion is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

const root = await wholeProgram()
const NAMES: NamesOf = async (kind, _before, stream) =>
  ({ queue: ['billing', 'mail'], stream: ['ledger'], group: [`${stream}-readers`] })[kind]
const offered = async (line: string) => (await candidates(root, line.split(' '), NAMES)).map(({ value }) => value)

let database: TestDatabase
let home: ReturnType<typeof scratch>

beforeAll(async () => {
  home = scratch()
  database = await createDatabase()
  const topology = defineTopology({ queues: { billing: {}, 'billing-eu': {}, mail: {} } })
  await new Posthaste({ database: pgDatabase(database.pool), topology }).declare()
  mkdirSync(join(home.path, 'bin'))
  const program = join(home.path, 'bin/posthaste')
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${ROOT}src/cli/main.ts' "$@"\n`)
  chmodSync(program, 0o755)
})
afterAll(async () => {
  home[Symbol.dispose]()
  await database.drop()
})

describe('what may follow', () => {
  test('is every command of the program, and of a family', async () => {
    for (const { path } of await everyCommand()) {
      const words = path.split(' ')
      const before = [...words.slice(0, -1), ''].join(' ')
      expect(await offered(before)).toContain(words.at(-1))
    }
    expect(await offered('dead re')).toEqual(['redrive'])
  })

  test('is the options of the command, the values of an option, and the names of queues', async () => {
    expect(await offered('dead purge --y')).toEqual(['--yes'])
    expect(await offered('demo --inject ')).toEqual(['loss', 'duplicate'])
    expect(await offered('completion ')).toEqual(['bash', 'zsh', 'fish'])
    expect(await offered('peek b')).toEqual(['billing'])
    expect(await offered('dead list --queue ')).toEqual(['billing', 'mail'])
    expect(await offered('tail ')).toEqual(['ledger'])
    expect(await offered('stream seek ledger ')).toEqual(['ledger-readers'])
    expect(await offered('verify x.ndjson --stream ledger --group ')).toEqual(['ledger-readers'])
    expect(await offered('publish --type ')).toEqual([])
  })
})

test('in bash, TAB completes commands and the queues of the database', async () => {
  const complete = (...words: string[]) => {
    const text = `${scripts.bash}
      COMP_WORDS=(posthaste ${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length}
      _posthaste; printf '%s\\n' "\${COMPREPLY[@]}"`
    const env = { ...process.env, PATH: `${home.path}/bin:${process.env.PATH}`, DATABASE_URL: database.url }
    return execFileSync('bash', ['-c', text], { env, encoding: 'utf8' }).trim().split('\n')
  }
  expect(complete('top')).toEqual(['topology'])
  // Nobody waits long for a TAB: a busy machine offers nothing, and is asked again.
  let names: string[] = []
  const named = () => {
    names = complete('peek', 'bill')
    return names.length > 1
  }
  await until(named, { timeoutMs: 90_000, what: 'the names of queues' })
  expect(names).toEqual(['billing', 'billing-eu'])
  expect(complete('peek', '--url', 'postgres://127.0.0.1:1/x', '')).toEqual([''])
})

const shells = { zsh: ['-n'], fish: ['--no-execute'] } as const

describe.each(Object.entries(shells))('the script for %s', (shell, check) => {
  const there = spawnSync(shell, ['--version']).status === 0
  if (!there) console.warn(`skipped: ${shell} is not there to read its completion script`)

  test.skipIf(!there)('is one that the shell can read', () => {
    const { status, stderr } = spawnSync(shell, [...check], { input: scripts[shell as 'zsh'], encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })

  test('asks the program', () => {
    expect(scripts[shell as 'zsh']).toContain('command posthaste __complete -- ')
  })
})
