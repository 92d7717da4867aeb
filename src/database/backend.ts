import { setTimeout as sleep } from 'node:timers/promises'
import { StatementTimedOut } from '../errors.ts'
import type { Queryable } from '../postgres/queryable.ts'

// A process leaves pg_stat_activity after it has rolled back and let go of its locks.
const TERMINATE = 'select pg_terminate_backend(pid) from pg_stat_activity where pid = $1::int'

/** Ends a server process and resolves when it is gone, with its transaction and its locks. */
export async function terminateBackend(on: Queryable, pid: number, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (let restMs = 1; (await on.query(TERMINATE, [pid])).rows.length > 0; restMs = Math.min(restMs * 2, 100)) {
    if (performance.now() > deadline) throw new StatementTimedOut(timeoutMs)
    await sleep(restMs)
  }
}
