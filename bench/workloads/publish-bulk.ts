import type pg from 'pg'
import { release } from '../stand/bench.ts'
import { installed, orders } from '../stand/filled.ts'
import { closedLoop } from '../stand/load.ts'
import type { Tuning } from '../stand/peer.ts'
import { able, measuredOf, rounds, toldRounds } from '../stand/rounds.ts'
import { median } from '../stand/runs.ts'
import type { Workload } from '../stand/workload.ts'

const AT_ONCE = 1_000
const CLIENTS = 2
const ROUNDS = 4
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: false }

/** BEGIN; publish 1,000 messages in one call; COMMIT, on 2 connections. The limit inserts rows from the same text. */
export const publishBulk: Workload = {
  name: 'publish.bulk',
  goals: [{ name: 'publish.bulk', unit: 'messages/s', measure: { kind: 'share-of-baseline', target: 0.85 } }],
  deadlineMs: 180_000,
  quick: true,
  async run(bench) {
    const { able: peers, unable } = await able(['publish-many'])
    const load = bench.quick ? { warmUpMs: 300, measureMs: 1_000 } : { warmUpMs: 500, measureMs: 2_500 }
    const sides = await Promise.all(
      peers.map(async (peer) => {
        const template = await installed(bench, peer, TUNING)
        const run = async () => {
          const database = await bench.database(template)
          const clients = await bench.clients(database, CLIENTS)
          const publisher = await peer.publisher(bench.urlOf(database), TUNING)
          let next = 0
          const calls = await closedLoop(clients, load, async (client: pg.PoolClient) => {
            const from = next
            next += AT_ONCE
            await client.query('begin')
            await publisher.publishAll(client, 'order.placed', orders(from, from + AT_ONCE))
            await client.query('commit')
          })
          await publisher.close()
          release(clients)
          await bench.drop(database)
          return calls * AT_ONCE
        }
        return { peer, run }
      }),
    )
    const runs = await rounds(bench, bench.quick ? 2 : ROUNDS, sides)
    return {
      measured: [measuredOf('publish.bulk', runs, unable)],
      report: {
        atOnce: AT_ONCE,
        clients: CLIENTS,
        sides: toldRounds(runs, unable),
        plots: [
          {
            name: 'publish-bulk',
            title: `Messages published ${AT_ONCE} at once`,
            kind: 'bars',
            x: 'side',
            y: 'messages/s',
            rows: Object.entries(runs.runs).map(([side, values]) => ({ side, x: side, y: median(values) })),
          },
        ],
      },
    }
  },
}
