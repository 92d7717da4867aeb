// The examples in the doc comments of src/: what they do not declare themselves they take from the package and from prelude.ts.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as drizzle from '../../src/databases/drizzle.ts'
import * as knex from '../../src/databases/knex.ts'
import * as prisma from '../../src/databases/prisma.ts'
import * as typeorm from '../../src/databases/typeorm.ts'
import * as embedded from '../../src/embedded/index.ts'
import * as posthaste from '../../src/index.ts'
import * as testing from '../../src/testing.ts'
import { ROOT } from '../support/process.ts'
import { runnable } from './blocks.ts'

export interface Example {
  /** The file it is written to: `src-queue-128.ts`. */
  readonly name: string
  readonly text: string
}

export const EXAMPLES: readonly Example[] = globSync('src/**/*.ts', { cwd: ROOT })
  .map((file) => file.replaceAll('\\', '/'))
  .sort()
  .flatMap(examplesOf)

const prelude = readFileSync(join(import.meta.dirname, 'prelude.ts'), 'utf8')
const VALUES = [...prelude.matchAll(/^export (?:declare )?(?:const|function) (\w+)/gm)].map(([, name]) => name!)
const PASSED_ON = /^export \{ (.*) \}/m.exec(prelude)![1]!.split(', ')
const TYPES = [...prelude.matchAll(/^export (?:interface|type) (\w+)/gm)].map(([, name]) => `type ${name}`)
const KNOWN: readonly (readonly [string, readonly string[]])[] = [
  ['src/index.ts', Object.keys(posthaste)],
  ['src/testing.ts', Object.keys(testing)],
  ['src/embedded/index.ts', Object.keys(embedded)],
  ['src/databases/drizzle.ts', Object.keys(drizzle)],
  ['src/databases/knex.ts', Object.keys(knex)],
  ['src/databases/prisma.ts', Object.keys(prisma)],
  ['src/databases/typeorm.ts', Object.keys(typeorm)],
  ['test/docs/prelude.ts', [...VALUES, ...PASSED_ON, ...TYPES]],
]

/** The example as a module. */
export function program({ text, name }: Example): string {
  const imports = KNOWN.flatMap(([file, names]) => {
    const wanted = names.filter((known) => wants(text, known.replace('type ', '')))
    return wanted.length === 0 ? [] : [`import { ${wanted.join(', ')} } from '${ROOT}${file}'`]
  })
  return [`// ${name}`, ...imports, runnable(text), 'export {}', ''].join('\n')
}

function examplesOf(file: string): Example[] {
  const text = readFileSync(join(ROOT, file), 'utf8')
  return [...text.matchAll(/^ *\* ```ts\n(.*?)^ *\* ```$/gms)].map((found) => ({
    name: `${file.replaceAll('/', '-').replace(/\.ts$/, '')}-${text.slice(0, found.index).split('\n').length}.ts`,
    text: found[1]!.replaceAll(/^ *\* ?/gm, ''),
  }))
}

function wants(text: string, name: string): boolean {
  const used = new RegExp(`(?<![.\\w'])${name}\\b(?!')`).test(text)
  return used && !declares(text, name)
}

function declares(text: string, name: string): boolean {
  return new RegExp(
    `(?:const|let|class|function|using|interface|type) (?:[{[][^}\\]=]*\\b${name}\\b|${name}\\b)|import [^'\\n]*\\b${name}\\b`,
  ).test(text)
}
