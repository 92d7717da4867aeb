import { flushCompileCache } from 'node:module'
import pg from 'pg'
import { pgDatabase } from '../index.ts'

/** What a process of the shop is told when it starts. */
export interface Brief {
  readonly name: string
  readonly url: string
}

const VARIABLE = 'POSTHASTE_DEMO_BRIEF'

/** A brief travels in the environment: arguments can be read by everybody on the machine, and the url holds a password. */
export function sealed(brief: Brief): NodeJS.ProcessEnv {
  return { [VARIABLE]: JSON.stringify(brief) }
}

/** The other end of `sealed`, in a process that dies with its parent, however that dies. */
export function brief<Told extends Brief = Brief>(): Told {
  process.on('disconnect', () => process.exit(1))
  setImmediate(flushCompileCache)
  return JSON.parse(process.env[VARIABLE]!) as Told
}

/** A pool whose connections bear the name of their process in `pg_stat_activity`. */
export function databaseOf({ name, url }: Brief, max: number) {
  const pool = new pg.Pool({ connectionString: url, application_name: `shop ${name}`, max })
  return { pool, database: pgDatabase(pool) }
}

/** Runs `stop` when the parent asks for it, then ends. */
export function endWith(stop: () => Promise<void>): void {
  process.once('SIGTERM', async () => {
    await stop()
    process.exit(0)
  })
}
