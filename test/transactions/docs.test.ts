import { spawn } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BLOCKS, type Block, runnable } from '../docs/blocks.ts'
import { createDatabase } from '../support/database.ts'
import { run } from '../support/server.ts'

const FOLDER = join(import.meta.dirname, `.blocks-${process.pid}`)
const PROGRAMS = BLOCKS.filter(({ page, language }) => page === 'docs/drivers.md' && language === 'ts')
const nameOf = ({ line, mark }: Block) => /^file=(\S+)$/.exec(mark)?.[1] ?? `${line}.ts`

beforeAll(() => {
  mkdirSync(FOLDER, { recursive: true })
  for (const block of PROGRAMS) writeFileSync(join(FOLDER, nameOf(block)), runnable(block.text))
})
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }))

test.each(PROGRAMS.filter(({ mark }) => mark === ''))('docs/drivers.md, line $line', async (block) => {
  await using database = await createDatabase()
  await run(database.url, 'create table orders (id text primary key)')
  const { code, stderr } = await program(join(FOLDER, nameOf(block)), database.url)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const there = await run(
    database.url,
    'select o.id, (select count(*)::int from posthaste.outbox) as said from orders o',
  )
  expect(there.rows).toEqual([{ id: '1', said: 1 }])
})

async function program(file: string, url: string): Promise<{ code: number | null; stderr: string }> {
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
