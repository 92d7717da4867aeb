import type { Bench } from '../stand/bench.ts'
import { pause, until } from '../stand/load.ts'
import { runOn } from '../stand/server.ts'
import { rounded, type Workload } from '../stand/workload.ts'
import { logged } from './ledger.ts'
import { handledBy, Reader } from './reader.ts'

const GROUP = 'ledger'

/** Rows of the log that a group reads for a message, by the processes that share it: the worst of 1, 2 and 4 processes. */
export const streamScan: Workload = {
  name: 'stream.scan',
  goals: [{ name: 'stream.scan', unit: 'rows/message/process', measure: { kind: 'at-most', target: 1.2 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const messages = bench.quick ? 30_000 : 200_000
    const database = await logged(bench, messages)
    const byProcesses: Record<string, number> = {}
    for (const processes of [1, 2, 4])
      byProcesses[processes] = rounded(await scanning(bench, database, processes, messages))
    return {
      measured: [{ name: 'stream.scan', ours: Math.max(...Object.values(byProcesses)), baseline: null, runs: 3 }],
      report: { messages, byProcesses },
    }
  },
}

async function scanning(bench: Bench, from: string, processes: number, messages: number): Promise<number> {
  const database = await bench.database(from)
  const url = bench.urlOf(database)
  const before = await rowsRead(url)
  const readers = await Promise.all(Array.from({ length: processes }, () => Reader.start({ url, groups: [GROUP] })))
  await until('everything is handled', async () => (await handledBy(readers, GROUP)) >= messages, {
    timeoutMs: 60_000,
    everyMs: 50,
  })
  // the server tells of it when the sessions end
  for (const reader of readers) await reader[Symbol.asyncDispose]()
  await pause(1_500)
  const rows = (await rowsRead(url)) - before
  await bench.drop(database)
  return rows / messages / processes
}

async function rowsRead(url: string): Promise<number> {
  const { rows } = await runOn(
    url,
    `select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::float8 as rows from pg_stat_user_tables where relname like 'outbox%'`,
  )
  return rows[0].rows ?? 0
}
