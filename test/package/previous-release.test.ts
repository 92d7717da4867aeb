import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { ROOT } from '../support/process.ts'
import { besideThisCheckout } from './beside.ts'
import { Installation } from './installation.ts'

// The tarball of the release before this one, as CONTRIBUTING.md says.
const releases = globSync('test/package/releases/posthaste-*.tgz', { cwd: ROOT })
if (releases.length === 0) console.log('skipped: there is no release yet, and so none in test/package/releases')

const FIRST = '0.1.0'
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }

test('one release is kept, the previous; none only before the first is followed by another', () => {
  expect(releases.length).toBeLessThanOrEqual(1)
  expect(version === FIRST || releases.length === 1).toBe(true)
})

test.runIf(releases.length > 0)(
  'the previous release works on the new schema, while this one migrates it and runs beside it',
  async () => {
    await using database = await createDatabase()
    using stranger = new Installation()
    stranger.install(join(ROOT, releases[0]!))
    await besideThisCheckout(stranger, database.url, basename(releases[0]!, '.tgz').replace(/\W/g, '_'))
  },
  180_000,
)
