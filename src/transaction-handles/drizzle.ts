import { TransactionRequired } from '../errors.ts'
import { type Answer, has, kindOf, type Library, through } from './library.ts'
import { openPgClient, pgClient } from './pg.ts'
import { postgresJs } from './postgres-js.ts'

/** Drizzle's `tx`; `db` is none. */
export interface DrizzleTransactionHandle {
  rollback(): never
  // biome-ignore lint/suspicious/noExplicitAny: an SQL of Drizzle's
  execute(query: any): PromiseLike<unknown>
}

interface Handle extends DrizzleTransactionHandle {
  readonly session?: { readonly client?: unknown }
}

const ADVICE = 'pass the tx of db.transaction(async (tx) => …)'

// What Drizzle's `execute` asks of a statement; with it no `sql` of the caller's Drizzle is needed.
class Statement {
  readonly text: string
  readonly values: readonly unknown[]

  constructor(text: string, values: readonly unknown[]) {
    this.text = text
    this.values = values
  }

  getSQL(): this {
    return this
  }

  toQuery(): object {
    return { sql: this.text, params: [...this.values], typings: [] }
  }
}

// A transaction that is over goes on to run statements, on a connection that is somebody else's by then: so the connection is asked.
export const drizzle: Library = {
  knows: (handle) =>
    has(handle, 'execute') && has((handle as { dialect?: unknown }).dialect, 'sqlToQuery') && 'session' in handle,
  open(handle: Handle) {
    if (!has(handle, 'rollback')) throw new TransactionRequired('Drizzle', ADVICE)
    const client = handle.session?.client
    if (isPgClient(client)) return openPgClient(client as never, 'Drizzle transaction', ADVICE)
    if (client && postgresJs.knows(client)) return postgresJs.open(client as never)
    return through(kindOf(handle), (text, values) => handle.execute(new Statement(text, values)) as PromiseLike<Answer>)
  },
  silent: (handle: Handle) => !isPgClient(handle.session?.client),
}

function isPgClient(client: unknown): client is object {
  return has(client, 'query') && pgClient.knows(client as object)
}
