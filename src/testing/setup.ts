/**
 * One PostgreSQL for all processes of a test run, for vitest and node:test.
 *
 * @module posthaste/testing/setup
 */

import { dropRun, newRun, TEST_RUN, TEST_SERVER, TEST_URL } from './test-database.ts'

let end: (() => Promise<void>) | undefined

/**
 * One PostgreSQL for all processes of a test run: vitest's `globalSetup`, or node:test's `--test-global-setup`. It is the one of
 * POSTHASTE_TEST_URL or TEST_DATABASE_URL, where the run's databases are dropped at the end, or an embedded one.
 *
 * ```ts
 * export { default, globalSetup, globalTeardown } from 'posthaste/testing/setup'
 * ```
 */
export async function globalSetup(): Promise<void> {
  const given = process.env[TEST_URL] ?? process.env.TEST_DATABASE_URL
  const run = newRun()
  process.env[TEST_RUN] = run
  if (given !== undefined) {
    process.env[TEST_URL] = given
    end = () => dropRun(given, run)
    return
  }
  const { startEmbeddedPostgres } = await import('../embedded/index.ts')
  const server = await startEmbeddedPostgres(TEST_SERVER)
  process.env[TEST_URL] = server.url
  end = () => server.stop()
}

/**
 * Ends what `globalSetup` began.
 *
 * ```ts
 * export { globalSetup, globalTeardown } from 'posthaste/testing/setup' // node --test --test-global-setup=…
 * ```
 */
export async function globalTeardown(): Promise<void> {
  await end?.()
  end = undefined
}

/** As vitest calls it: the answer is the teardown. */
export default async function setup(): Promise<() => Promise<void>> {
  await globalSetup()
  return globalTeardown
}
