import { readFile } from 'node:fs/promises'
import { routed } from '../stand/backlog.ts'
import type { Bench } from '../stand/bench.ts'
import { drain } from '../stand/drain.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import { runOn } from '../stand/server.ts'
import type { Workload } from '../stand/workload.ts'

const CONNECTIONS = 10
const BEFORE = new URL('../plain/plain-before.sql', import.meta.url)

/** `drain.noop` of a plain queue, against the same with the functions that its claims ran through before queues had rules. */
export const plainUnchanged: Workload = {
  name: 'plain.unchanged',
  goals: [{ name: 'plain.unchanged', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.97 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const messages = bench.quick ? 20_000 : 60_000
    const backlog = await routed(bench, messages)
    const before = await readFile(BEFORE, 'utf8')
    const runs = await alternate(bench.quick ? 2 : 5, {
      ours: () => consuming(bench, backlog, messages),
      baseline: () => consuming(bench, backlog, messages, before),
    })
    return {
      measured: [{ name: 'plain.unchanged', ...medians(runs) }],
      report: { messages, connections: CONNECTIONS, runs: told(runs) },
    }
  },
}

async function consuming(bench: Bench, backlog: string, messages: number, functions?: string): Promise<number> {
  const database = await bench.database(backlog)
  if (functions !== undefined) await runOn(bench.urlOf(database), functions)
  const rate = await drain(bench, database, { messages, connections: CONNECTIONS }, () => {})
  await bench.drop(database)
  return rate
}
