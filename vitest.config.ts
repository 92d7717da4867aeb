import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.ts'

// Tests start hundreds of processes: what one of them has compiled is there for the next.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('.posthaste/compile-cache', import.meta.url))

// `vitest run` is the quick suite, `--mode long` the counts that take longer, `--mode transactions` other people's libraries,
// which are installed for it, `--mode server` what of the quick suite speaks to a server, for servers of other versions.
const INCLUDED: Record<string, string> = { long: 'test/**/*.long.ts', transactions: 'test/transactions/**/*.test.ts' }

// Other servers are slower: in containers, of older versions.
const TIMEOUT_MS: Record<string, number> = { long: 600_000, server: 120_000 }

// They know no server, or bring their own.
const SERVERLESS = ['rules', 'machinery', 'bench', 'ground', 'package', 'types'].map((folder) => `test/${folder}/**`)

export default defineConfig(({ mode }) => ({
  test: {
    include: [INCLUDED[mode] ?? 'test/**/*.test.ts'],
    exclude: [
      '**/node_modules/**',
      ...(mode === 'transactions' ? [] : ['test/transactions/**']),
      ...(mode === 'server' ? SERVERLESS : []),
    ],
    globalSetup: ['test/support/server.ts'],
    reporters: ['default', './scripts/counts-reporter.mjs'],
    pool: 'forks',
    // Tests wait about as often as they compute: two would leave a sixth of two cores idle.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    hookTimeout: 60_000,
    testTimeout: TIMEOUT_MS[mode] ?? 30_000,
    passWithNoTests: true,
    typecheck: {
      enabled: mode === 'test',
      include: ['test/**/*.test-d.ts'],
      exclude: ['**/node_modules/**', 'test/transactions/**'],
      tsconfig: './tsconfig.json',
      ignoreSourceErrors: true,
    },
  },
}))
