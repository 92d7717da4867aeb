import { pgDatabase } from '../../src/index.ts'
import { DEFAULT_RELAY } from '../../src/relay.ts'
import { published, routeAll } from '../stand/backlog.ts'
import type { Bench } from '../stand/bench.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import type { Workload } from '../stand/workload.ts'

const QUEUES = 1_000
const BINDINGS_EACH = 10
const KINDS = 10

/** Messages to 1,000 queues of an exchange with 10,000 bindings: rows of ready per second, against those of one queue with one binding. */
export const routes10k: Workload = {
  name: 'routes.10k',
  goals: [{ name: 'routes.10k', unit: 'rows/s', measure: { kind: 'share-of-baseline', target: 0.3 } }],
  deadlineMs: 90_000,
  async run(bench) {
    const messages = bench.quick ? 50 : 300
    const wide = await bound(bench, messages)
    const narrow = await published(bench, messages * QUEUES)
    const runs = await alternate(bench.quick ? 1 : 3, {
      ours: () => routing(bench, wide, messages * QUEUES),
      baseline: () => routing(bench, narrow, messages * QUEUES),
    })
    return {
      measured: [{ name: 'routes.10k', ...medians(runs) }],
      report: { queues: QUEUES, bindings: QUEUES * BINDINGS_EACH, messages, kinds: KINDS, runs: told(runs) },
    }
  },
}

/** Each queue has ten patterns, one of which the messages match. */
async function bound(bench: Bench, messages: number): Promise<string> {
  const database = await bench.database()
  const pool = bench.pool(database, 1)
  await pool.query(`insert into posthaste.exchanges (name, kind) values ('wide', 'topic')`)
  await pool.query(`insert into posthaste.queues (name) select 'wide-' || n from generate_series(1, $1::int) n`, [
    QUEUES,
  ])
  await pool.query(
    `insert into posthaste.bindings (exchange, queue, routing_key, pattern)
     select 'wide', q.id, case b when 0 then 'order.*.placed' else 'order.other' || b || '.*' end,
            case b when 0 then '^order\\.[^.]*\\.placed$' else '^order\\.other' || b || '\\.[^.]*$' end
     from posthaste.queues q cross join generate_series(0, $1::int - 1) b
     where q.name like 'wide-%'`,
    [BINDINGS_EACH],
  )
  await pool.query(
    `insert into posthaste.outbox (message_id, exchange, routing_key, type, payload)
     select posthaste.uuid_v7(), 'wide', 'order.' || n % $2::int || '.placed', 'order', '{}' from generate_series(1, $1::int) n`,
    [messages, KINDS],
  )
  await bench.end(pool)
  return database
}

async function routing(bench: Bench, from: string, expected: number): Promise<number> {
  const database = await bench.database(from)
  const pool = bench.pool(database, 1)
  await pool.query('select count(*) from posthaste.outbox') // in memory, as what was just published is
  const startedAt = performance.now()
  const deliveries = await routeAll(pgDatabase(pool), DEFAULT_RELAY.chunk)
  const seconds = (performance.now() - startedAt) / 1_000
  if (deliveries !== expected) throw new Error(`Cannot measure "routes.10k": ${deliveries} of ${expected} deliveries`)
  await bench.end(pool)
  await bench.drop(database)
  return deliveries / seconds
}
