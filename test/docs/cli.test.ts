import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { VARIABLES } from '../../src/cli/target.ts'
import { ROOT } from '../support/process.ts'
import { cliPage } from './cli-page.ts'

const PAGE = join(ROOT, 'docs/cli.md')

test('docs/cli.md is what the program says of itself: UPDATE_DOCS=1 writes it anew', async () => {
  const page = await cliPage()
  if (process.env.UPDATE_DOCS) writeFileSync(PAGE, page)
  expect(readFileSync(PAGE, 'utf8')).toBe(page)
})

test('docs/cli.md tells of every variable that is read', () => {
  const page = readFileSync(PAGE, 'utf8')
  for (const name of Object.values(VARIABLES)) expect(page).toContain(`\`${name}\``)
})
