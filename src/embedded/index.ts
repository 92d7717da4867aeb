/**
 * A PostgreSQL of your own, for demos, development and tests.
 *
 * @module posthaste/embedded
 */

export { EmbeddedPostgres, type EmbeddedPostgresOptions, startEmbeddedPostgres } from './embedded-postgres.ts'
// What can go wrong, each with a literal `code`
export {
  DataDirectoryBusyError,
  DataDirectoryUnreachableError,
  EmbeddedPostgresMissingError,
  EmbeddedPostgresStartError,
  EmbeddedPostgresUnusableError,
  PortBusyError,
} from './errors.ts'
export { fetchEmbeddedPostgres } from './fetch.ts'
