import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../support/process.ts'

/** A fenced block of a page. */
export interface Block {
  readonly page: string
  /** The line it begins at. */
  readonly line: number
  readonly language: string
  /** What stands behind the language: `vitest`, `file=messages.ts`. */
  readonly mark: string
  readonly text: string
}

/** Every page whose blocks are held to be true. */
export const PAGES: readonly string[] = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'bench/README.md',
  'llms.txt',
  ...globSync('docs/**/*.md', { cwd: ROOT }).map((page) => page.replaceAll('\\', '/')),
].filter((page) => globSync(page, { cwd: ROOT }).length > 0)

export const BLOCKS: readonly Block[] = PAGES.flatMap((page) => blocksOf(page))

/** The program with imports that lead into this repository, as the block shows them leading into the package. */
export function runnable(text: string): string {
  return text.replaceAll(/'posthaste(\/[\w/]+)?'/g, (_, entry?: string) => `'${ROOT}${sourceOf(entry ?? '')}'`)
}

const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, { default: string }>
}

/** './dist/databases/drizzle.js' is built of src/databases/drizzle.ts. */
function sourceOf(entry: string): string {
  return exports[`.${entry}`]!.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')
}

function blocksOf(page: string): Block[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```(\S*)[ \t]*([^\n]*)\n(.*?)^```$/gms)].map((found) => ({
    page,
    line: text.slice(0, found.index).split('\n').length,
    language: found[1]!,
    mark: found[2]!.trim(),
    text: found[3]!,
  }))
}
