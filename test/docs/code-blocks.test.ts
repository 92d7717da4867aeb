// Every fenced block of the documentation is run, or says by its language that it is none to run:
//
//   ts                 a program: it fails in nothing and writes nothing to stderr, on a migrated database of its own (DATABASE_URL).
//                      Those of a page share a process, which must end by itself after the last; those of node:test have their own
//   ts vitest          a test file, run by vitest
//   ts file=NAME       written as NAME beside every program of the page; they import it
//   text output        what the program above it prints
//   sql                statements, on a migrated database with the topology SHOWN below
//   sh                 commands: each that begins with posthaste (npx or not) is one the command line takes, options and all; each
//                      `npm run` is a script of package.json
//   js                 a program of another library, to compare with: it is parsed
//   text, yaml, json, ini   shown: output, drawings, files. Anything else fails.
//
// All ts blocks are type-checked together, as a user's compiler would, and so are the examples of the doc comments.
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'
import type { CommandUnknownOpts } from '@commander-js/extra-typings'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { completed, wholeProgram } from '../../src/cli/program.ts'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase } from '../support/database.ts'
import { ROOT } from '../support/process.ts'
import { BLOCKS, type Block, runnable } from './blocks.ts'
import { EXAMPLES, program } from './examples.ts'
import { PageProcess } from './page-process.ts'

const SCRATCH = join(ROOT, '.posthaste', `blocks-${process.pid}`)
const SHOWN_ONLY = ['text', 'yaml', 'json', 'ini', '']
// Those of docs/drivers.md are run by test/transactions, where its libraries are installed.
const HERE = BLOCKS.filter(({ page }) => page !== 'docs/drivers.md')
const FILES = HERE.filter(({ language, mark }) => language === 'ts' && mark.startsWith('file='))
const PROGRAMS = HERE.filter(({ language, mark }) => language === 'ts' && mark === '')
const TESTED = PROGRAMS.filter(({ text }) => text.includes(`from 'node:test'`))
const PLAIN = PROGRAMS.filter((block) => !TESTED.includes(block))
const VITEST = HERE.filter(({ language, mark }) => language === 'ts' && mark === 'vitest')

const PROCESSES = new Map<string, PageProcess>()

beforeAll(() => {
  for (const block of [...PROGRAMS, ...VITEST]) {
    mkdirSync(folderOf(block), { recursive: true })
    writeFileSync(fileOf(block), runnable(block.text))
    for (const { mark, text } of FILES.filter(({ page }) => page === block.page))
      writeFileSync(join(folderOf(block), mark.slice('file='.length)), runnable(text))
  }
  mkdirSync(join(SCRATCH, 'examples'), { recursive: true })
  for (const example of EXAMPLES) writeFileSync(join(SCRATCH, 'examples', example.name), program(example))
})
afterAll(() => {
  for (const page of PROCESSES.values()) page.kill()
  rmSync(SCRATCH, { recursive: true, force: true })
})

describe('what the documentation shows runs', { timeout: 120_000 }, () => {
  it('the first program of the README is the first example', () => {
    const example = readFileSync(join(ROOT, 'examples/01-publish-in-a-transaction.ts'), 'utf8')
    const [before] = example.split('\n// Output:')
    const shown = PROGRAMS.find(({ page }) => page === 'README.md')!.text
    expect(shown.trim()).toBe(
      before!
        .replace(/^\/\/.*\n/, '')
        .replace('../src/index.ts', 'posthaste')
        .trim(),
    )
  })

  it('every block is of a language that is run, or only shown', () => {
    const known = ['ts', 'sql', 'sh', 'js', ...SHOWN_ONLY]
    const strange = BLOCKS.filter(({ language }) => !known.includes(language))
    expect(strange.map(({ page, line, language }) => `${page}:${line} ${language}`)).toEqual([])
  })

  it.concurrent.each(PLAIN)('$page, line $line', async (block) => {
    await using database = await createDatabase()
    const { stdout, ...went } = await pageOf(block).run({ file: fileOf(block), url: database.url })
    expect({ ...went, told: went.failure && stdout }).toEqual({ failure: '', stderr: '', told: '' })
    const said = outputOf(block)
    if (said !== undefined) expect(stdout.trim()).toBe(said.trim())
  })

  it.concurrent.each(TESTED)('$page, line $line (node:test)', async (block) => {
    await using database = await createDatabase()
    const { code, stderr, stdout } = await run(process.execPath, [fileOf(block)], database.url)
    expect({ code, stderr, told: code === 0 ? '' : stdout }).toEqual({ code: 0, stderr: '', told: '' })
  })

  it.concurrent.each(VITEST)('$page, line $line (vitest)', async (block) => {
    await using database = await createDatabase()
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
    const args = [vitest, 'run', '--root', dirname(fileOf(block)), '--config', join(ROOT, 'test/docs/vitest.config.ts')]
    const { code, stdout, stderr } = await run(process.execPath, args, database.url)
    expect({ code, told: code === 0 ? '' : stdout + stderr }).toEqual({ code: 0, told: '' })
  })

  it.concurrent.each(BLOCKS.filter(({ language }) => language === 'sql'))(
    '$page, line $line (SQL)',
    async ({ text }) => {
      await using database = await createDatabase()
      await new Posthaste({ database: pgDatabase(database.pool), topology: SHOWN }).declare()
      for (const [schema, tables] of Object.entries(THEIRS))
        if (text.includes(schema)) await database.pool.query(tables)
      const client = await database.pool.connect()
      await client.query(text.includes(ROLE) ? `begin; create role ${ROLE}` : 'select') // a role is the server's, so it is not kept
      for (const statement of text.split(/;\s*$/m).filter((part) => part.trim() !== '')) await client.query(statement)
      await client.query('rollback')
      client.release()
    },
  )

  it.each(BLOCKS.filter(({ language, text }) => language === 'sh' && commandsOf(text).length > 0))(
    '$page, line $line (commands)',
    async ({ text }) => {
      for (const words of commandsOf(text)) await parsed(words)
    },
  )

  it('every script that the documentation runs with npm is one', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const told = BLOCKS.filter(({ language }) => language === 'sh').flatMap(({ page, line, text }) =>
      [...text.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, script]) => ({ script: script!, at: `${page}:${line}` })),
    )
    expect(told.filter(({ script }) => !(script in scripts))).toEqual([])
  })

  it('what is shown of other libraries is well formed', () => {
    for (const { language, text, page, line } of BLOCKS)
      if (language === 'js') expect(() => stripTypeScriptTypes(text), `${page}:${line}`).not.toThrow()
  })

  it.concurrent('and its programs are well typed', async () => {
    const config = join(SCRATCH, 'tsconfig.json')
    writeFileSync(
      config,
      JSON.stringify({
        extends: join(ROOT, 'tsconfig.json'),
        compilerOptions: {
          allowImportingTsExtensions: true,
          rewriteRelativeImportExtensions: false,
          noUnusedLocals: false,
          noUnusedParameters: false,
          skipLibCheck: true,
        },
        include: [`${SCRATCH}/**/*.ts`],
      }),
    )
    const { stdout, code } = await run(join(ROOT, 'node_modules/.bin/tsc'), ['--project', config], '')
    expect(stdout).toBe('')
    expect(code).toBe(0)
  })

  it('and leave nothing behind that keeps a process from ending', async () => {
    for (const [page, running] of PROCESSES)
      expect({ page, ended: await running.end(10_000) }).toEqual({ page, ended: '' })
  })
})

/** What the pages' SQL speaks of. */
const SHOWN = defineTopology({
  exchanges: { orders: 'topic' },
  queues: { billing: {}, mail: { from: [{ exchange: 'orders', routingKey: 'order.#' }] } },
})

const ROLE = 'shop_app'

/** The columns of other queues' tables that SQL speaks of, and a job. */
const THEIRS = {
  pgboss: `
    create schema pgboss
    create table job (id uuid, name text, state text, data jsonb, priority integer, start_after timestamptz);
    insert into pgboss.job values (gen_random_uuid(), 'billing', 'created', '{}', 0, now())`,
  graphile_worker: `
    create schema graphile_worker
    create table _private_tasks (id integer, identifier text)
    create table _private_jobs (id bigint, task_id integer, payload json, run_at timestamptz, attempts smallint, max_attempts smallint, locked_at timestamptz);
    insert into graphile_worker._private_tasks values (1, 'billing');
    insert into graphile_worker._private_jobs values (1, 1, '{}', now(), 0, 25, null)`,
}

function pageOf({ page }: Block): PageProcess {
  if (!PROCESSES.has(page)) PROCESSES.set(page, new PageProcess(environment('')))
  return PROCESSES.get(page)!
}

/** What a program is said to print: the block `text output` that follows it. */
function outputOf(block: Block): string | undefined {
  const next = BLOCKS[BLOCKS.indexOf(block) + 1]
  return next?.page === block.page && next.language === 'text' && next.mark === 'output' ? next.text : undefined
}

function folderOf({ page, line }: Block): string {
  return join(SCRATCH, page.replaceAll('/', '-'), String(line))
}

function fileOf(block: Block): string {
  return join(folderOf(block), block.mark === 'vitest' ? 'shown.test.ts' : 'shown.ts')
}
/** The calls of posthaste in a script, as lists of words. */
function commandsOf(script: string): string[][] {
  const lines = script.replaceAll('\\\n', ' ').split('\n')
  return lines.flatMap((line) => {
    const words = wordsOf(line)
    const at = words.findIndex((word) => word === 'posthaste' || word.endsWith('/posthaste'))
    const before = words.slice(0, at)
    const called = at !== -1 && before.every((word) => word === 'npx' || word === 'exec' || /^[A-Z_]+=/.test(word))
    return called ? [words.slice(at + 1)] : []
  })
}

// Enough of a shell: quotes, comments, and the end of a simple command.
function wordsOf(line: string): string[] {
  const words = [...line.matchAll(/'([^']*)'|"([^"]*)"|(#.*$)|([|;&<>]+.*$)|([^\s'"]+)/g)]
  return words.flatMap(([, single, double, comment, end, bare]) => {
    if (comment !== undefined || end !== undefined) return []
    return [single ?? double ?? bare!]
  })
}

/** Parses a command line as the program would, and does nothing. */
async function parsed(words: readonly string[]): Promise<void> {
  const root = await wholeProgram()
  disarm(root)
  const answer = await root.parseAsync(completed(words), { from: 'user' }).catch((error) => error)
  const fine = ['commander.helpDisplayed', 'commander.version', undefined]
  expect({ words, refused: fine.includes(answer?.code) ? undefined : answer.message }).toEqual({
    words,
    refused: undefined,
  })
}

function disarm(command: CommandUnknownOpts): void {
  command.configureOutput({ writeOut: () => {} })
  if (command.commands.length === 0) command.action(() => {})
  for (const each of command.commands) disarm(each)
}

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

async function run(program: string, args: readonly string[], url: string): Promise<Ran> {
  const child = spawn(program, args, {
    env: environment(url),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data) => (stdout += data))
  child.stderr.on('data', (data) => (stderr += data))
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject))
  return { code, stdout, stderr }
}

function environment(url: string): NodeJS.ProcessEnv {
  return {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_ENV|NODE_TEST)/.test(name))),
    DATABASE_URL: url,
    POSTHASTE_TEST_URL: inject('server').url,
    NODE_NO_WARNINGS: '1',
    NO_COLOR: '1',
  }
}
