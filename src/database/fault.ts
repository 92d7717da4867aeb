import { hasCode, isConnectionLoss } from '../rules/error-summary.ts'

const STALE = [
  '25006', // read_only_sql_transaction: the server was demoted, and the pool would stay with it
  '0A000', // cached plan must not change result type: a migration went by under a prepared statement
  '26000', // prepared statement does not exist: somebody else shares this connection
  '42P05', // prepared statement already exists: the same
]

/** Must the connection on which a statement failed so be destroyed? After any other error it can go back to its pool. */
export function condemns(error: unknown): boolean {
  return isConnectionLoss(error) || hasCode(error, 'STATEMENT_TIMED_OUT') || isStale(error)
}

/** Does the error say that the connection, though alive, is of no more use? Fit for errors that may not be our statements'. */
export function isStale(error: unknown): boolean {
  return STALE.some((code) => hasCode(error, code))
}

/** Did Postgres itself refuse, so that the outcome is known? A cut connection or a deadline leaves it open. */
export function isRefusal(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'severity' in error && !isConnectionLoss(error)
}
