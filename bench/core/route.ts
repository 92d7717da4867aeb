import { pgDatabase } from '../../src/index.ts'
import { DEFAULT_RELAY } from '../../src/relay.ts'
import { published, routeAll } from '../stand/backlog.ts'
import type { Bench } from '../stand/bench.ts'
import { median } from '../stand/runs.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const MESSAGES = 300_000
const RUNS = 5

/** The relay's cycle over a backlog for one queue, from one connection: the very call of a busy relay, with its default chunk. */
export const route: Workload = {
  name: 'route',
  goals: [{ name: 'route', unit: 'messages/s', measure: { kind: 'at-least', target: 200_000 } }],
  deadlineMs: 90_000,
  async run(bench) {
    const backlog = await published(bench, MESSAGES)
    const runs: number[] = []
    for (let i = 0; i < RUNS; i += 1) runs.push(await routing(bench, backlog))
    return {
      measured: [{ name: 'route', ours: median(runs), baseline: null, runs: RUNS }],
      report: { messages: MESSAGES, chunk: DEFAULT_RELAY.chunk, runs: runs.map(rounded) },
    }
  },
}

async function routing(bench: Bench, backlog: string): Promise<number> {
  const database = await bench.database(backlog)
  const pool = bench.pool(database, 1)
  await pool.query('select count(*) from posthaste.outbox') // in memory, as what was just published is
  const startedAt = performance.now()
  const deliveries = await routeAll(pgDatabase(pool), DEFAULT_RELAY.chunk)
  const seconds = (performance.now() - startedAt) / 1_000
  if (deliveries !== MESSAGES)
    throw new Error(`Cannot measure "route": ${deliveries} of ${MESSAGES} messages were routed`)
  await bench.end(pool)
  await bench.drop(database)
  return MESSAGES / seconds
}
