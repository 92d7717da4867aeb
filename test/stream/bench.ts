import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology, Posthaste, pgDatabase, type Retention } from '../../src/index.ts'
import type { RelayOptions } from '../../src/relay.ts'
import type { QueueDefinition } from '../../src/rules/topology.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { onTestFinished } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'

const TYPE = 'moved'

let shared: Promise<TestDatabase> | undefined

afterAll(async () => {
  if (shared) await (await shared).drop()
})

export type StreamOptions = Pick<QueueDefinition, 'headOfLine' | 'onExhausted' | 'onLag' | 'retry'>

/** A stream of its own, with an exchange of its own, in the database of the test file. */
export async function bench(options: StreamOptions = {}, given?: TestDatabase) {
  if (!given) shared ??= createDatabase().then(withEffects)
  const { url, pool } = await (given ? withEffects(given) : shared!)
  const stream = `s_${randomUUID().slice(0, 8)}`
  const exchange = `x_${stream}`
  const retry = { minMs: 1, maxMs: 5, jitter: 'none' as const, ...options.retry }
  const topology = defineTopology({
    exchanges: { [exchange]: 'fanout' },
    queues: { [stream]: { kind: 'stream', from: [{ exchange }], ...options, retry } },
  })

  /** One process that reads; it is stopped with the test. */
  const process = (more: { max?: number; relay?: RelayOptions; retention?: Retention } = {}) => {
    const own = new pg.Pool({ connectionString: url, max: more.max ?? 15 })
    own.on('error', () => {})
    const { relay = {}, retention = {} } = more
    const posthaste = new Posthaste({ database: pgDatabase(own), topology, relay, retention })
    onTestFinished(async () => {
      await posthaste.stop({ timeoutMs: 0 })
      if (!own.ended) await own.end()
    })
    return posthaste
  }
  const Moved = defineMessage(TYPE, z.object({ n: z.int(), account: z.string() }), {
    exchange,
    key: ({ account }) => account,
  })
  const publish = async (count: number, accountOf: (n: number) => string = (n) => `a${n % 10}`, from = 0) => {
    const ids: string[] = []
    for (let n = from; n < from + count; n += 1_000) {
      const messages = Array.from({ length: Math.min(1_000, from + count - n) }, (_, i) => ({
        id: randomUUID(),
        exchange,
        type: TYPE,
        key: accountOf(n + i),
        payload: { n: n + i, account: accountOf(n + i) },
      }))
      ids.push(...messages.map(({ id }) => id))
      await pool.query('select count(*) from posthaste.publish_all($1::text)', [JSON.stringify(messages)])
    }
    return ids
  }
  const effects = async (group = stream): Promise<{ message_id: string; account: string; n: number }[]> =>
    (await pool.query('select message_id, account, n from effects where grp = $1 order by seq', [group])).rows
  const counted = async (group: string): Promise<number> =>
    (await pool.query('select count(*)::int as n from effects where grp = $1', [group])).rows[0].n
  const handled = (count: number, group = stream, timeoutMs = 20_000) =>
    until(async () => (await counted(group)) >= count, { timeoutMs, what: `${count} effects of ${group}` })
  return { url, pool, stream, exchange, topology, process, Moved, publish, effects, handled }
}

async function withEffects(database: TestDatabase): Promise<TestDatabase> {
  await database.pool.query(
    'create table if not exists effects (seq bigint generated always as identity, grp text, message_id uuid, account text, n int)',
  )
  return database
}

/** The messages of each account whose numbers do not rise. */
export function disordered(effects: readonly { account: string; n: number }[]) {
  const last = new Map<string, number>()
  return effects.filter(({ account, n }) => {
    const before = last.get(account) ?? -1
    last.set(account, n)
    return n <= before
  })
}

export const EFFECT = 'insert into effects (grp, message_id, account, n) values ($1, $2, $3, $4)'
