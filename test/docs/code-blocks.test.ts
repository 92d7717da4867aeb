import { spawn } from 'node:child_process'
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase } from '../support/database.ts'
import { ROOT } from '../support/process.ts'

const SCRATCH = join(ROOT, '.posthaste', `blocks-${process.pid}`)
const PAGES = ['README.md', ...globSync('docs/*.md', { cwd: ROOT })]
const BLOCKS = PAGES.flatMap((page) => blocksOf(page))

afterAll(() => rmSync(SCRATCH, { recursive: true, force: true }))

describe('what the documentation shows runs', () => {
  it('the first program of the README is the first example', () => {
    const example = readFileSync(join(ROOT, 'examples/01-publish-in-a-transaction.ts'), 'utf8')
    const [program] = example.split('\n// Output:')
    const shown = BLOCKS.find(({ page, language }) => page === 'README.md' && language === 'ts')!.text
    expect(shown.trim()).toBe(
      program!
        .replace(/^\/\/.*\n/, '')
        .replace('../src/index.ts', 'posthaste')
        .trim(),
    )
  })

  it.each(BLOCKS.filter(({ language }) => language === 'ts'))('$page, line $line', async ({ page, line, text }) => {
    await using database = await createDatabase()
    mkdirSync(SCRATCH, { recursive: true })
    const file = join(SCRATCH, `${page.replaceAll('/', '-')}-${line}.ts`)
    writeFileSync(file, text.replaceAll("'posthaste'", "'../../src/index.ts'"))
    const { code, stderr } = await runProgram(file, database.url)
    expect(stderr).toBe('')
    expect(code).toBe(0)
  })

  it.each(BLOCKS.filter(({ language }) => language === 'sql'))('$page, line $line (SQL)', async ({ text }) => {
    await using database = await createDatabase()
    await new Posthaste({ database: pgDatabase(database.pool), topology: SHOWN }).declare()
    for (const statement of text.split(/;\s*$/m).filter((part) => part.trim() !== ''))
      await database.pool.query(statement)
  })
})

/** What the pages' SQL speaks of. */
const SHOWN = defineTopology({
  exchanges: { orders: 'topic' },
  queues: { billing: {}, mail: { from: [{ exchange: 'orders', routingKey: 'order.#' }] } },
})

function blocksOf(page: string): { page: string; line: number; language: string; text: string }[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```(ts|sql)\n(.*?)^```/gms)].map((found) => ({
    page,
    line: text.slice(0, found.index).split('\n').length,
    language: found[1]!,
    text: found[2]!,
  }))
}

async function runProgram(file: string, url: string): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, DATABASE_URL: url, NODE_NO_WARNINGS: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 30_000,
    killSignal: 'SIGKILL',
  })
  let stderr = ''
  child.stderr.on('data', (data) => (stderr += data))
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject))
  return { code, stderr }
}
