import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ROOT } from '../support/process.ts'

const sources = globSync('src/**/*.ts', { cwd: ROOT }).map((file) => readFileSync(join(ROOT, file), 'utf8'))
const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8')
const told = [...page.matchAll(/^## ([A-Z_]{4,})$/gm)].map(([, code]) => code!).sort()

it('docs/errors.md tells of every code there is, and of no other', () => {
  const codes = sources.flatMap((text) =>
    [...text.matchAll(/readonly code(?:: [^=]+)? = '([A-Z_]+)'/g)].map(([, code]) => code!),
  )
  expect(told).toEqual([...new Set(codes)].sort())
})

it('every SQLSTATE of our own that the schema raises is told', () => {
  const raised = globSync('migrations/**/*.sql', { cwd: ROOT })
    .flatMap((file) => [...readFileSync(join(ROOT, file), 'utf8').matchAll(/'(PH\d{3})'/g)])
    .map(([, code]) => code!)
  for (const code of new Set(raised)) expect(page).toContain(`\`${code}\``)
})
