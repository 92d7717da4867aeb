import pg from 'pg'
import { z } from 'zod'
import {
  type Audit,
  defineMessage,
  Posthaste,
  type PosthasteOptions,
  type Published,
  pgDatabase,
  type Topology,
} from '../../src/index.ts'
import type { Publishable } from '../../src/outbox.ts'
import { onTestFinished } from '../support/side-by-side.ts'

export const Order = defineMessage('order.placed', z.object({ n: z.int() }))

/** One process of a service; it is stopped when the test is over. */
export function service<Name extends string>(
  url: string,
  topology: Topology<Name>,
  options: Omit<PosthasteOptions<pg.PoolClient, Name>, 'database' | 'topology'> = {},
) {
  const pool = new pg.Pool({ connectionString: url, max: 12 })
  pool.on('error', () => {})
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology, ...options })
  const publish = (...messages: Publishable[]): Promise<Published[]> =>
    pgDatabase(pool).transaction((tx) => posthaste.publish(tx, messages))
  onTestFinished(async () => {
    await posthaste.stop({ timeoutMs: 0 })
    await pool.end()
  })
  return { posthaste, pool, publish }
}

/** The names of queues and exchanges whose account does not add up. */
export function unaccounted({ queues, exchanges }: Audit): string[] {
  return [
    ...queues.filter(({ difference }) => difference !== 0).map(({ queue }) => queue),
    ...exchanges.filter(({ difference }) => difference !== 0).map(({ exchange }) => exchange),
  ]
}

/** One look of a relay, for tests that run none. */
export async function route(pool: pg.Pool): Promise<void> {
  await pool.query('select posthaste.relay_cycle(5000, true)')
}
