import { Posthaste, pgDatabase } from '../../src/index.ts'
import type { Bench } from '../stand/bench.ts'
import { until } from '../stand/load.ts'
import { plain } from '../stand/plain.ts'
import { alternate, medians, told } from '../stand/runs.ts'
import { runOn } from '../stand/server.ts'
import type { Workload } from '../stand/workload.ts'
import { logged, Sensed, standard, streams } from './ledger.ts'

const CONNECTIONS = 10
const BATCH = 50
const effect = plain('effect')
const statement = effect('insert_effect')

/** One insert for every message, exactly once, by a stream and by a standard queue with the same batch size, over 10 connections. */
export const streamEffect: Workload = {
  name: 'stream.effect',
  goals: [{ name: 'stream.effect', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 1.5 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const messages = bench.quick ? 10_000 : 60_000
    const sides = {
      stream: await logged(bench, messages),
      queue: await logged(bench, messages, { topology: standard }),
    }
    for (const database of Object.values(sides)) await runOn(bench.urlOf(database), effect('set_up').text)
    const runs = await alternate(bench.quick ? 1 : 3, {
      ours: () => draining(bench, sides.stream, 'ledger', messages),
      baseline: () => draining(bench, sides.queue, 'work', messages),
    })
    return {
      measured: [{ name: 'stream.effect', ...medians(runs) }],
      report: { messages, connections: CONNECTIONS, batchSize: BATCH, runs: told(runs) },
    }
  },
}

async function draining(bench: Bench, from: string, queue: 'ledger' | 'work', messages: number): Promise<number> {
  const database = await bench.database(from)
  const pool = bench.pool(database, CONNECTIONS + 4)
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology: queue === 'ledger' ? streams : standard })
  let handled = 0
  posthaste.consumer(queue, { concurrency: CONNECTIONS, batchSize: BATCH }).on(Sensed, async ({ payload }, { tx }) => {
    await tx.query({ ...statement, values: [payload.sensor, payload.cents] })
    handled += 1
  })
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => pool.connect()))
  for (const client of clients) client.release()
  await posthaste.start({ relay: false })
  // what comes before, lanes are taken and batches grow
  await until('the first tenth', () => handled >= messages / 10, { timeoutMs: 60_000, everyMs: 2 })
  const [startedAt, before] = [performance.now(), handled]
  await until('all messages', () => handled >= messages, { timeoutMs: 60_000, everyMs: 2 })
  const seconds = (performance.now() - startedAt) / 1_000
  await posthaste.stop()
  const { rows } = await runOn(bench.urlOf(database), 'select count(*)::int as effects from bench_effects')
  await bench.end(pool)
  await bench.drop(database)
  if (rows[0].effects !== messages) throw new Error(`Cannot trust a run: ${rows[0].effects} effects of ${messages}`)
  return (messages - before) / seconds
}
