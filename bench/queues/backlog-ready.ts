import { Posthaste, pgDatabase } from '../../src/index.ts'
import type { Bench } from '../stand/bench.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import { OrderPlaced, topology } from '../stand/shop.ts'
import type { Workload } from '../stand/workload.ts'
import { fill } from './filled.ts'

// A quarter of a second's work: one alone says little, and the first is of a process that warms up.
const NEXT = 10_000
const CONNECTIONS = 10

/** The next 10,000 of a queue with a million ready and a million scheduled deliveries, against those of a queue that has no others. */
export const backlogReady: Workload = {
  name: 'backlog.ready',
  goals: [{ name: 'backlog.ready', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.8 } }],
  deadlineMs: 150_000,
  async run(bench) {
    const many = bench.quick ? 100_000 : 1_000_000
    const full = await filled(bench, { ready: many, scheduled: many })
    const empty = await filled(bench, { ready: NEXT, scheduled: 0 })
    await taking(bench, full)
    const runs = await alternate(bench.quick ? 2 : 7, {
      ours: () => taking(bench, full),
      baseline: async () => {
        const database = await bench.database(empty)
        const rate = await taking(bench, database)
        await bench.drop(database)
        return rate
      },
    })
    return {
      measured: [{ name: 'backlog.ready', ...medians(runs) }],
      report: { ready: many, scheduled: many, next: NEXT, connections: CONNECTIONS, runs: told(runs) },
    }
  },
}

async function filled(bench: Bench, counts: { ready: number; scheduled: number }): Promise<string> {
  const database = await bench.database()
  const pool = bench.pool(database, 1)
  await fill(pool, counts)
  await bench.end(pool)
  return database
}

async function taking(bench: Bench, database: string): Promise<number> {
  const pool = bench.pool(database, CONNECTIONS + 2)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
  posthaste.consumer('billing', { concurrency: CONNECTIONS }).on(OrderPlaced, () => {})
  let completed = 0
  const done = Promise.withResolvers<number>()
  posthaste.on('completed', () => {
    completed += 1
    if (completed === NEXT) done.resolve(performance.now())
  })
  await Promise.all(Array.from({ length: CONNECTIONS }, () => pool.query('select 1')))
  const startedAt = performance.now()
  await posthaste.start({ relay: false })
  const seconds = ((await done.promise) - startedAt) / 1_000
  await posthaste.stop()
  await bench.end(pool)
  return NEXT / seconds
}
