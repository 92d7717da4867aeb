import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ROOT } from '../support/process.ts'
import { ENTRIES } from './blocks.ts'

interface Declared {
  readonly kind: string
  readonly doc: string | undefined
}

const DECLARED = Map.groupBy(
  globSync('src/**/*.ts', { cwd: ROOT }).flatMap((file) =>
    declarationsOf(readFileSync(join(ROOT, file), 'utf8')).map((found) => ({ ...found, file })),
  ),
  ({ name }) => name,
)

it.each([...ENTRIES])('every export of %s has its documentation', (_, file) => {
  expect(exportsOf(file).filter(({ name }) => !documented(name))).toEqual([])
})

it.each([...ENTRIES])('every function and class of %s has an example; errors have docs/errors.md', (_, file) => {
  const values = exportsOf(file).filter(({ name, type }) => !type && !isError(name))
  expect(values.filter(({ name }) => !DECLARED.get(name)?.some(({ doc }) => doc?.includes('```ts')))).toEqual([])
})

function documented(name: string): boolean {
  return (DECLARED.get(name) ?? []).some(({ doc }) => doc !== undefined)
}

function isError(name: string): boolean {
  return name !== 'PosthasteError' && (DECLARED.get(name) ?? []).some(({ file }) => file.endsWith('errors.ts'))
}

interface Exported {
  readonly name: string
  readonly type: boolean
}

/** What an entry point exports; `export *` is followed. */
function exportsOf(file: string): Exported[] {
  const text = readFileSync(join(ROOT, file), 'utf8')
  const listed = [...text.matchAll(/^export (type )?\{([^}]*)\}/gms)].flatMap(([, type, names]) =>
    names!
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '')
      .map((name) => ({ name: name.replace('type ', ''), type: type !== undefined || name.startsWith('type ') })),
  )
  const all = [...text.matchAll(/^export \* from '(.*)'/gm)].flatMap(([, from]) =>
    exportsOf(join(file, '..', from!).replaceAll('\\', '/')),
  )
  const own = declarationsOf(text).map(({ name, kind }) => ({ name, type: kind === 'interface' || kind === 'type' }))
  return [...listed, ...all, ...own]
}

function declarationsOf(text: string): (Declared & { readonly name: string })[] {
  const declarations = text.matchAll(
    /(\/\*\*(?:(?!\*\/).)*\*\/\n(?:\/\/[^\n]*\n)*)?^export (?:declare )?(?:abstract )?(?:async )?(function|class|interface|type|const) (\w+)/gms,
  )
  return [...declarations].map(([, doc, kind, name]) => ({ name: name!, doc, kind: kind! }))
}
