import { defineConfig } from 'vitest/config'

// For the test files that the documentation shows.
export default defineConfig({ test: { include: ['**/*.test.ts'], testTimeout: 30_000 } })
