import { Posthaste, pgDatabase } from '../../src/index.ts'
import type { Bench } from '../stand/bench.ts'
import { median } from '../stand/runs.ts'
import { rounded, type Workload } from '../stand/workload.ts'
import { logged, streams } from './ledger.ts'

/** One process reads a stream from its beginning to its end, `for await`, and does nothing with what it gets. */
export const streamRead: Workload = {
  name: 'stream.read',
  goals: [{ name: 'stream.read', unit: 'messages/s', measure: { kind: 'at-least', target: 150_000 } }],
  deadlineMs: 90_000,
  async run(bench) {
    const messages = bench.quick ? 50_000 : 300_000
    const database = await logged(bench, messages)
    const runs: number[] = []
    for (let n = 0; n < (bench.quick ? 1 : 3); n += 1) runs.push(await reading(bench, database, messages))
    return {
      measured: [{ name: 'stream.read', ours: median(runs), baseline: null, runs: runs.length }],
      report: { messages, runs: runs.map(rounded) },
    }
  },
}

async function reading(bench: Bench, database: string, messages: number): Promise<number> {
  const pool = bench.pool(database, 2)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology: streams })
  let count = 0
  const startedAt = performance.now()
  for await (const _ of posthaste.stream('ledger').read({ from: 'earliest', follow: false })) count += 1
  const seconds = (performance.now() - startedAt) / 1_000
  await bench.end(pool)
  if (count !== messages) throw new Error(`Cannot measure "stream.read": ${count} of ${messages} messages`)
  return messages / seconds
}
