import { Posthaste, pgDatabase } from '../../src/index.ts'
import { median } from '../stand/runs.ts'
import { topology } from '../stand/shop.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const ASKED = 20

/** `posthaste.queue('billing').status()` with ten million ready deliveries. */
export const status10M: Workload = {
  name: 'status.10M',
  goals: [{ name: 'status.10M', unit: 'ms', measure: { kind: 'below', target: 50 } }],
  deadlineMs: 150_000,
  async run(bench) {
    const many = bench.quick ? 500_000 : 10_000_000
    const database = await bench.database()
    const pool = bench.pool(database, 2)
    await pool.query('set synchronous_commit = off')
    await pool.query('alter table posthaste.ready drop constraint ready_pkey')
    await pool.query(
      `insert into posthaste.ready (queue, priority, message, message_id)
       select (select id from posthaste.queues where name = 'billing'), 9, n, '0190a0e6-0000-7000-8000-000000000000'
       from generate_series(1, $1::int) n`,
      [many],
    )
    await pool.query('alter table posthaste.ready add primary key (queue, priority, position)')
    await pool.query(
      `insert into posthaste.tally (scope, name, counter, n) values ('queue', 'billing', 'routed', $1)`,
      [many],
    )
    const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
    const runs: number[] = []
    for (let i = 0; i < ASKED; i += 1) {
      const startedAt = performance.now()
      const { ready } = await posthaste.queue('billing').status()
      runs.push(performance.now() - startedAt)
      if (ready !== many) throw new Error(`Cannot trust a status: ${ready} ready`)
    }
    await bench.end(pool)
    return {
      measured: [{ name: 'status.10M', ours: median(runs), baseline: null, runs: ASKED }],
      report: { ready: many, worstMs: rounded(Math.max(...runs)) },
    }
  },
}
