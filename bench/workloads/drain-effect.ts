import { backlogs, bars, drained, sizes } from '../stand/backlogs.ts'
import { OURS } from '../stand/peer.ts'
import { measuredOf, toldRounds } from '../stand/rounds.ts'
import type { Workload } from '../stand/workload.ts'

/**
 * A backlog and one insert for every message, on 10 connections: exactly once where a peer has a way to do it by itself, at least
 * once where not. Ours and pg-boss's handlers take a batch, and fail it together; ours that takes one message at a time, and fails
 * alone, is told beside them.
 */
export const drainEffect: Workload = {
  name: 'drain.effect',
  goals: [{ name: 'drain.effect', unit: 'messages/s', measure: { kind: 'of-best-peer', target: 2 } }],
  deadlineMs: 300_000,
  quick: true,
  async run(bench) {
    const all = await backlogs(bench)
    const runs = await drained(bench, all, { effect: true, batches: true, connections: 10 })
    const ours = { ...all, peers: all.peers.filter(({ name }) => name === OURS) }
    const alone = bench.quick ? undefined : await drained(bench, ours, { effect: true, connections: 10 })
    return {
      measured: [measuredOf('drain.effect', runs, all.unable)],
      report: {
        ...sizes(bench),
        effects: Object.fromEntries(all.peers.map(({ name, effect }) => [name, effect])),
        sides: toldRounds(runs, all.unable),
        ...(alone && { oneAtATime: toldRounds(alone) }),
        plots: [bars('drain-effect', 'Consumed, one insert as effect', runs)],
      },
    }
  },
}
