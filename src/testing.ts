/**
 * What services test with: a database per test, drained queues, messages that are expected, time that passes, processes that die.
 *
 * @module posthaste/testing
 */

// The clock of the database.
export type { DatabaseClock, Span } from './testing/clock.ts'
// Processes that die at a point.
export {
  type CrashOptions,
  type CrashPoint,
  type CrashPoints,
  type CrashPointsOptions,
  crashPoints,
} from './testing/crash-points.ts'
// What is asked of a Posthaste.
export {
  type Delivered,
  type Drained,
  type DrainOptions,
  type ExpectPublishedOptions,
  type FailedAttempt,
  type Matcher,
  type Moved,
  type PublishedMessage,
  type PublishedOptions,
  type TestKit,
  testKit,
} from './testing/kit.ts'
export type { Part } from './testing/matching.ts'
// A database of a test's own.
export { createTestDatabase, type TestDatabase, type TestDatabaseOptions } from './testing/test-database.ts'
