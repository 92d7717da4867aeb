import { backlogs, bars, drained, sizes } from '../stand/backlogs.ts'
import { measuredOf, toldRounds } from '../stand/rounds.ts'
import type { Workload } from '../stand/workload.ts'

/** A backlog and a handler that does nothing, on 10 connections, in this process. */
export const drainNoop: Workload = {
  name: 'drain.noop',
  goals: [
    { name: 'drain.noop', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.6, ofBestPeer: 2 } },
  ],
  deadlineMs: 300_000,
  quick: true,
  async run(bench) {
    const all = await backlogs(bench)
    const runs = await drained(bench, all, { effect: false, connections: 10 })
    return {
      measured: [measuredOf('drain.noop', runs, all.unable)],
      report: {
        ...sizes(bench),
        sides: toldRounds(runs, all.unable),
        plots: [bars('drain-noop', 'Consumed, no effect', runs)],
      },
    }
  },
}
