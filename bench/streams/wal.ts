import { Posthaste, pgDatabase } from '../../src/index.ts'
import type { Bench } from '../stand/bench.ts'
import { pause, until } from '../stand/load.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import { runOn } from '../stand/server.ts'
import type { Workload } from '../stand/workload.ts'
import { batch, declared, publish, streams } from './ledger.ts'
import { Reader, TEN } from './reader.ts'

const AT_ONCE = 100

/**
 * What the server writes to its log for a message that is published and routed, with ten groups that read it, and with none. The server
 * counts for all of its databases, so each is dropped when its run is over: what is cleaned up in it would count for another.
 */
export const streamWal: Workload = {
  name: 'stream.wal',
  goals: [{ name: 'stream.wal', unit: 'bytes/message', measure: { kind: 'at-most-of-baseline', target: 1.05 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const messages = bench.quick ? 20_000 : 100_000
    const runs = await alternate(bench.quick ? 1 : 3, {
      ours: () => writing(bench, TEN, messages),
      baseline: () => writing(bench, [], messages),
    })
    return {
      measured: [{ name: 'stream.wal', ...medians(runs) }],
      report: { messages, groups: TEN.length, runs: told(runs) },
    }
  },
}

async function writing(bench: Bench, groups: readonly string[], messages: number): Promise<number> {
  const database = await declared(bench)
  const pool = bench.pool(database, 2)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology: streams })
  await using reader = await Reader.start({ url: bench.urlOf(database), groups, relay: true, concurrency: 1 })
  const before = await written(bench)
  for (let from = 0; from < messages; from += AT_ONCE) await publish(pool, posthaste, batch(from, AT_ONCE, 10_000))
  const all = async () => Object.values((await reader.usage()).handled).every((handled) => handled >= messages)
  await until('every group has everything', all, { timeoutMs: 60_000, everyMs: 100 })
  // a session tells what it has written when it ends, and while it rests only now and then
  await bench.end(pool)
  await reader[Symbol.asyncDispose]()
  const after = await written(bench)
  await bench.drop(database)
  return (after - before) / messages
}

/** Once it rests, as the server tells what it has written some time later. */
async function written(bench: Bench): Promise<number> {
  let last = -1
  for (;;) {
    const { rows } = await runOn(bench.server.url, 'select wal_bytes::float8 as bytes from pg_stat_wal')
    if (Math.abs(rows[0].bytes - last) < 50_000) return rows[0].bytes
    last = rows[0].bytes
    await pause(1_200)
  }
}
