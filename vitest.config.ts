import { defineConfig } from 'vitest/config'

// `vitest run` is the quick suite, `vitest run --mode long` the counts that take longer.
export default defineConfig(({ mode }) => ({
  test: {
    include: mode === 'long' ? ['test/**/*.long.ts'] : ['test/**/*.test.ts'],
    globalSetup: ['test/support/server.ts'],
    reporters: ['default', './scripts/counts-reporter.mjs'],
    pool: 'forks',
    maxWorkers: 2,
    hookTimeout: 60_000,
    testTimeout: mode === 'long' ? 600_000 : 30_000,
    passWithNoTests: true,
    typecheck: {
      enabled: mode !== 'long',
      include: ['test/**/*.test-d.ts'],
      tsconfig: './tsconfig.json',
      ignoreSourceErrors: true,
    },
  },
}))
