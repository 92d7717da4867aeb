import { backlogs, bars, drained, sizes } from '../stand/backlogs.ts'
import { measuredOf, toldRounds } from '../stand/rounds.ts'
import type { Workload } from '../stand/workload.ts'

/**
 * A backlog and one insert for every message, on 10 connections: exactly once where a peer has a way to do it by itself, at least
 * once where not.
 */
export const drainEffect: Workload = {
  name: 'drain.effect',
  goals: [{ name: 'drain.effect', unit: 'messages/s', measure: { kind: 'of-best-peer', target: 2 } }],
  deadlineMs: 300_000,
  quick: true,
  async run(bench) {
    const all = await backlogs(bench)
    const runs = await drained(bench, all, { effect: true, connections: 10 })
    return {
      measured: [measuredOf('drain.effect', runs, all.unable)],
      report: {
        ...sizes(bench),
        effects: Object.fromEntries(all.peers.map(({ name, effect }) => [name, effect])),
        sides: toldRounds(runs, all.unable),
        plots: [bars('drain-effect', 'Consumed, one insert as effect', runs)],
      },
    }
  },
}
