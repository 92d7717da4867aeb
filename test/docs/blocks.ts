import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../support/process.ts'

/** A fenced block of a page. */
export interface Block {
  readonly page: string
  /** The line it begins at. */
  readonly line: number
  readonly language: string
  /** What stands behind the language: `vitest`, `file=messages.ts`, `output`. */
  readonly mark: string
  readonly text: string
}

const BY_HAND = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'bench/README.md',
  'docs/**/*.md',
  'examples/**/*.md',
]
const GENERATED = ['docs/api/**', 'llms-full.txt', '**/node_modules/**']

/** Every page that is written by hand: its blocks are held to be true. */
export const PAGES: readonly string[] = globSync([...BY_HAND, 'llms.txt'], { cwd: ROOT, exclude: GENERATED })
  .map((page) => page.replaceAll('\\', '/'))
  .sort()

export const BLOCKS: readonly Block[] = PAGES.flatMap((page) => blocksOf(page))

/** The program with imports that lead into this repository, as the block shows them leading into the package. */
export function runnable(text: string): string {
  return text.replaceAll(/'posthaste(\/[\w/]+)?'/g, (_, entry?: string) => `'${ROOT}${sourceOf(entry ?? '')}'`)
}

const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, string | { default: string }>
}

/** Entry points of the package, as their sources: './testing' is src/testing.ts. */
export const ENTRIES: ReadonlyMap<string, string> = new Map(
  Object.entries(exports).flatMap(([entry, built]) =>
    typeof built === 'string' ? [] : [[entry, built.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')]],
  ),
)

function sourceOf(entry: string): string {
  return ENTRIES.get(`.${entry}`)!
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
