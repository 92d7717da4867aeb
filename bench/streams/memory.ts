import { pause } from '../stand/load.ts'
import { rounded, type Workload } from '../stand/workload.ts'
import { logged } from './ledger.ts'
import { Reader } from './reader.ts'

const EVERY_MS = 100

/** How much the resident memory of a process grows while it catches up: from the first twentieth on, to its highest. */
export const streamMemory: Workload = {
  name: 'stream.memory',
  goals: [{ name: 'stream.memory', unit: 'MB', measure: { kind: 'at-most', target: 50 } }],
  deadlineMs: 180_000,
  async run(bench) {
    const messages = bench.quick ? 50_000 : 1_000_000
    const database = await logged(bench, messages)
    const group = 'ledger'
    await using reader = await Reader.start({ url: bench.urlOf(database), groups: [group] })
    const samples: { handled: number; rssMb: number }[] = []
    const startedAt = performance.now()
    for (let handled = 0; handled < messages; await pause(EVERY_MS)) {
      const usage = await reader.usage()
      handled = usage.handled[group]!
      samples.push({ handled, rssMb: usage.rssMb })
      if (performance.now() - startedAt > 120_000) throw new Error(`Cannot go on: ${handled} of ${messages} in time`)
    }
    const first = samples.find(({ handled }) => handled >= messages / 20)!
    const highest = Math.max(...samples.filter(({ handled }) => handled >= first.handled).map(({ rssMb }) => rssMb))
    const seconds = (performance.now() - startedAt) / 1_000
    return {
      measured: [{ name: 'stream.memory', ours: Math.max(0, highest - first.rssMb), baseline: null, runs: 1 }],
      report: {
        messages,
        perSecond: rounded(messages / seconds),
        firstMb: rounded(first.rssMb),
        highestMb: rounded(highest),
      },
    }
  },
}
