import { Posthaste, pgDatabase } from '../../src/index.ts'
import { openLoop } from '../stand/open-loop.ts'
import { rounded, type Workload } from '../stand/workload.ts'
import { batch, declared, publish, streams } from './ledger.ts'
import { Reader } from './reader.ts'

const MINUTES = 5
const PER_SECOND = 1_000
const AT_ONCE = 10

/** A thousand messages a second while one REPEATABLE READ snapshot stays open: what is handled in the last minute and in the first. */
export const streamHeld: Workload = {
  name: 'stream.held',
  goals: [{ name: 'stream.held', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.9 } }],
  deadlineMs: 360_000,
  async run(bench) {
    const seconds = bench.quick ? 4 : 60
    const database = await declared(bench)
    const [holder] = await bench.clients(database, 1)
    const pool = bench.pool(database, 4)
    const posthaste = new Posthaste({ database: pgDatabase(pool), topology: streams })
    const url = bench.urlOf(database)
    await using reader = await Reader.start({ url, groups: ['ledger'], relay: true, live: ['ledger'] })
    await holder!.query('begin isolation level repeatable read')
    await holder!.query('select 1')
    const minutes: { perSecond: number; p99Ms: number | null }[] = []
    for (let minute = 0; minute < MINUTES; minute += 1) {
      const before = (await reader.usage()).handled.ledger!
      reader.begin()
      const startedAt = performance.now()
      await openLoop({ perSecond: PER_SECOND / AT_ONCE, seconds }, (n) =>
        publish(pool, posthaste, batch(n * AT_ONCE, AT_ONCE, 10_000, Number(process.hrtime.bigint()) / 1e6)),
      )
      const { handled, p99Ms } = await reader.usage()
      const took = (performance.now() - startedAt) / 1_000
      minutes.push({ perSecond: rounded((handled.ledger! - before) / took), p99Ms: p99Ms && rounded(p99Ms) })
      bench.say(`    minute ${minute + 1}: ${JSON.stringify(minutes.at(-1))}`)
    }
    await holder!.query('commit')
    holder!.release(true)
    return {
      measured: [{ name: 'stream.held', ours: minutes.at(-1)!.perSecond, baseline: minutes[0]!.perSecond, runs: 1 }],
      report: { offered: PER_SECOND, secondsOfAMinute: seconds, minutes },
    }
  },
}
