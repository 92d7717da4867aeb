import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from '../support/process.ts'

interface Manifest {
  readonly dependencies?: Record<string, string>
  readonly devDependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly peerDependenciesMeta?: Record<string, { readonly optional?: boolean }>
}

const [ours, theirs] = readFileSync(join(ROOT, 'docs/dependencies.md'), 'utf8').split(/^## .*$/m) as [string, string]

/** Each package of a table with the place it is told to have, and the reason. */
function toldIn(page: string) {
  const rows = page.split('\n').filter((line) => line.startsWith('| `'))
  return rows.flatMap((row) => {
    const [names = '', where = '', why = ''] = row.slice(2).split(' | ')
    return [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => ({ name: name!, where, why }))
  })
}

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8'))
}

test('docs/dependencies.md tells of every dependency of the package, where it is, and why', () => {
  const { dependencies = {}, devDependencies = {}, peerDependencies = {}, peerDependenciesMeta } = manifest('.')
  const optional = (name: string) => (peerDependenciesMeta?.[name]?.optional ? 'optional peer' : 'peer')
  const wanted = new Map([
    ...Object.keys(devDependencies).map((name) => [name, 'development'] as const),
    ...Object.keys(dependencies).map((name) => [name, 'runtime'] as const),
    ...Object.keys(peerDependencies).map((name) => [name, optional(name)] as const),
  ])
  const told = toldIn(ours)
  expect(told.map(({ name }) => name).sort()).toEqual([...wanted.keys()].sort())
  const places = told.map(({ name, where }) => [name, where.split(',')[0]])
  expect(places).toEqual(told.map(({ name }) => [name, wanted.get(name)]))
  expect(told.filter(({ why }) => why.length < 4)).toEqual([])
})

const folders = globSync('{bench,{examples,scripts,test}/*}/package.json', { cwd: ROOT }).map((file) => dirname(file))

test.each(folders)('docs/dependencies.md tells of every dependency of %s', (folder) => {
  const { dependencies, devDependencies, optionalDependencies } = manifest(folder)
  const told = toldIn(theirs).filter(({ where }) => where.split(', ').includes(folder))
  expect(told.map(({ name }) => name).sort()).toEqual(
    Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies }).sort(),
  )
})
