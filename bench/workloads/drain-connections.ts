import { backlogs, drained, sizes } from '../stand/backlogs.ts'
import { OURS } from '../stand/peer.ts'
import { measuredOf, type Rounds, toldRounds } from '../stand/rounds.ts'
import { median } from '../stand/runs.ts'
import { type Figures, rounded, type Workload } from '../stand/workload.ts'

const CONNECTIONS = [1, 10, 100]
const ROUNDS = 3

/** A backlog and a handler that does nothing, on 1, 10 and 100 connections. */
export const drainConnections: Workload = {
  name: 'drain.connections',
  goals: [{ name: 'drain.100', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.9 } }],
  deadlineMs: 480_000,
  async run(bench) {
    const all = await backlogs(bench)
    const runs: Record<number, Rounds> = {}
    for (let round = 0; round < ROUNDS; round += 1)
      for (const connections of CONNECTIONS) {
        bench.say(`drain.connections, ${connections}`)
        runs[connections] = joined(runs[connections], await drained(bench, all, { effect: false, connections }, 1))
      }
    const at = (connections: number, side: string) => median(runs[connections]!.runs[side] ?? [Number.NaN])
    const measured = measuredOf('drain.100', runs[100]!, all.unable)
    return {
      measured: [{ ...measured, baseline: at(10, OURS), peers: withRatios(measured.peers!, (name) => at(10, name)) }],
      report: {
        ...sizes(bench),
        connections: Object.fromEntries(Object.entries(runs).map(([n, those]) => [n, toldRounds(those, all.unable)])),
        plots: [
          {
            name: 'drain-connections',
            title: 'Consumed, no effect, by connections',
            kind: 'lines',
            x: 'connections',
            y: 'messages/s',
            logarithmic: true,
            rows: Object.entries(runs).flatMap(([connections, { runs: sides }]) =>
              Object.entries(sides).map(([side, values]) => ({ side, x: Number(connections), y: median(values) })),
            ),
          },
        ],
      },
    }
  },
}

function joined(one: Rounds | undefined, other: Rounds): Rounds {
  const sides = Object.entries(other.runs).map(([side, values]) => [side, [...(one?.runs[side] ?? []), ...values]])
  return { runs: { ...one?.runs, ...Object.fromEntries(sides) }, failed: { ...one?.failed, ...other.failed } }
}

function withRatios(figures: Figures, baselineOf: (name: string) => number): Figures {
  return Object.fromEntries(
    Object.entries(figures).map(([name, one]) => [
      name,
      one.figure === null ? one : { ...one, ratio: rounded(one.figure / baselineOf(name)) },
    ]),
  )
}
