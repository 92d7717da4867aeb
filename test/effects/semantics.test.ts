import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT } from '../support/process.ts'
import { SEMANTICS, semanticsTable, testsById } from './semantics.ts'

const PAGE = join(ROOT, 'docs/payments.md')
const TABLE = /(<!-- semantics -->\n).*?(\n<!-- \/semantics -->)/s

describe('what must hold for money to be moved once', () => {
  test.each(Object.keys(SEMANTICS))('%s has a test that is named for it', (id) => {
    expect(testsById().get(id) ?? []).not.toEqual([])
  })

  test('no test is named for what nobody promises', () => {
    const known = new Set([...Object.keys(SEMANTICS), 'step 1', 'step 2', 'step 3'])
    expect([...testsById().keys()].filter((id) => !known.has(id))).toEqual([])
  })

  test('is told in docs/payments.md with the files of its tests: UPDATE_DOCS=1 writes it anew', () => {
    const page = readFileSync(PAGE, 'utf8')
    if (process.env.UPDATE_DOCS)
      writeFileSync(
        PAGE,
        page.replace(TABLE, (_, before, after) => `${before}${semanticsTable()}${after}`),
      )
    expect(readFileSync(PAGE, 'utf8')).toContain(`<!-- semantics -->\n${semanticsTable()}\n<!-- /semantics -->`)
  })
})
