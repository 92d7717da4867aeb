import { expect, test } from 'vitest'
import { topicMatches, topicRegex } from '../../src/rules/route.ts'
import { createDatabase } from '../support/database.ts'

test('Postgres matches routing keys with our regular expressions as we do', async () => {
  await using database = await createDatabase()
  const patterns = [
    ...keysOf(['a', 'b+c', '', '*', '#'], 3),
    'ü.*',
    '#.(x)',
    'a.#.b.#',
    '#.*.#.a',
    '$',
    '^.#',
    'a\\.b',
    '[a].{2}|',
  ]
  const keys = [
    ...keysOf(['a', 'b+c', '', 'bbc'], 3),
    'ü.x',
    'x',
    'y.(x)',
    'a.c.b.d',
    '$',
    '^.a',
    'a\\.b',
    '[a].{2}|',
    'a.b',
  ]
  const { rows } = await database.pool.query<{ pattern: string; key: string; matches: boolean }>(
    `select pattern, key, key ~ regex as matches
     from unnest($1::text[], $2::text[]) as p (pattern, regex), unnest($3::text[]) as k (key)`,
    [patterns, patterns.map(topicRegex), keys],
  )
  expect(rows).toHaveLength(patterns.length * keys.length)
  expect(rows.filter(({ pattern, key, matches }) => matches !== topicMatches(pattern, key))).toEqual([])
})

/** Every key of at most so many of these words. */
function keysOf(words: readonly string[], most: number): string[] {
  const lists = Array.from({ length: most }, (_, index) =>
    Array.from({ length: index }).reduce<string[][]>(
      (all) => all.flatMap((list) => words.map((word) => [...list, word])),
      words.map((word) => [word]),
    ),
  )
  return [...new Set(lists.flat().map((list) => list.join('.')))]
}
