import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from '../support/process.ts'

const rows = readFileSync(join(ROOT, 'test/README.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| what holds'))

/** `file: title, title; file: title`. */
function named(row: string) {
  const where = row.slice(2, -2).split(' | ').at(-1)!
  const parts = [...where.matchAll(/((?:test|scripts)\/[\w./-]+)(?:: ((?:(?:``.+?``|`[^`]+`)(?:, )?)+))?/g)]
  return parts.map(([, file, titles = '']) => ({
    file: file!,
    titles: [...titles.matchAll(/``\s?(.+?)\s?``|`([^`]+)`/g)].map(([, double, single]) => double ?? single!),
  }))
}

test.each(rows.map((row) => [row.split(' | ')[0]!.slice(2), row]))(
  '“%s” is tested where test/README.md says',
  (_, row) => {
    const places = named(row)
    expect(places.length).toBeGreaterThan(0)
    for (const { file, titles } of places) {
      expect(existsSync(join(ROOT, file)), file).toBe(true)
      for (const title of titles) expect(readFileSync(join(ROOT, file), 'utf8')).toContain(title)
    }
  },
)
