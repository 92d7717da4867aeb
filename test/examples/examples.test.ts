import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { ROOT } from '../support/process.ts'

const NUMBERED = readdirSync(join(ROOT, 'examples')).filter((name) => /^\d\d-.*\.ts$/.test(name))
const EXAMPLES = [...NUMBERED, 'payments/saga.ts']

describe('every example runs, and prints what it says it prints', () => {
  it.concurrent.each(EXAMPLES)('%s', async (name) => {
    await using database = await createDatabase()
    const { stdout, stderr, code } = await runExample(join(ROOT, 'examples', name), database.url)
    expect(stderr).toBe('')
    expect(stdout.trim()).toBe(promised(name))
    expect(code).toBe(0)
  })

  it('six of them are numbered', () => {
    expect(NUMBERED.map((name) => name.slice(0, 2))).toEqual(['01', '02', '03', '04', '05', '06'])
  })
})

function promised(name: string): string {
  const [, output] = readFileSync(join(ROOT, 'examples', name), 'utf8').split('// Output:\n')
  return output!.replaceAll(/^\/\/ ?/gm, '').trim()
}

async function runExample(file: string, url: string): Promise<{ stdout: string; stderr: string; code: number | null }> {
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, DATABASE_URL: url, NODE_NO_WARNINGS: '1' },
    timeout: 30_000,
    killSignal: 'SIGKILL',
  })
  const told = { stdout: '', stderr: '' }
  child.stdout.on('data', (data) => (told.stdout += data))
  child.stderr.on('data', (data) => (told.stderr += data))
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject))
  return { ...told, code }
}
