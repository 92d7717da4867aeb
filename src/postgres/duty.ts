import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** Makes a session fit to wait for a lock; `fit` is false on a standby, which grants locks of its own to everybody. */
export function prepareToWait(t: Tables): Query<{ fit: boolean }> {
  return { text: `select ${t.of('prepare_to_wait')}() as fit`, values: [] }
}

/** Waits for the duty lock, for the given time at most, and holds it from then on to the end of the session. */
export function waitForDuty(t: Tables, { patienceMs }: { readonly patienceMs: number }): Query<{ granted: boolean }> {
  return { text: `select ${t.of('wait_for_duty')}($1) as granted`, values: [patienceMs] }
}

/** Waits for the sleep lock for as long as it takes: it is granted when the last silent publisher has ended. */
export function lockSleep(t: Tables): Query<never> {
  return { text: `select pg_advisory_lock(${sleepLock(t)})`, values: [] }
}

/** From here on publishers are silent again. */
export function unlockSleep(t: Tables): Query<{ unlocked: boolean }> {
  return { text: `select pg_advisory_unlock(${sleepLock(t)}) as unlocked`, values: [] }
}

/**
 * The same after a request that was cancelled: a session keeps a lock that it was granted at the very moment of the cancel.
 * One that it does not hold is not unlocked, which would leave a warning in the server's log.
 */
export function dropSleep(t: Tables): Query<{ unlocked: boolean }> {
  return {
    text: `
      select pg_advisory_unlock(${sleepLock(t)}) as unlocked
      from pg_locks
      where locktype = 'advisory' and pid = pg_backend_pid() and granted
        and classid::bigint = ${t.of('lock_class')}()
        and objid::bigint = ${t.of('lock_object')}('sleep')::bigint & 4294967295`,
    values: [],
  }
}

/** Cancels the statement another session of the same role is running; one that has not begun yet is not cancelled. */
export function cancelBackend(pid: number): Query<{ sent: boolean }> {
  return { text: 'select pg_cancel_backend($1) as sent', values: [pid] }
}

/** A sign of life. */
export function ping(): Query<never> {
  return { text: 'select 1', values: [] }
}

function sleepLock(t: Tables): string {
  return `${t.of('lock_class')}(), ${t.of('lock_object')}('sleep')`
}
