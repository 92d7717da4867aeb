import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { type Bench, release } from '../stand/bench.ts'
import { installed } from '../stand/filled.ts'
import { closedLoop, type LoadOptions } from '../stand/load.ts'
import type { Peer, Publisher, Tuning } from '../stand/peer.ts'
import { plain } from '../stand/plain.ts'
import { able, measuredOf, rounds, type Side, toldRounds } from '../stand/rounds.ts'
import { median } from '../stand/runs.ts'
import type { Plot, Workload } from '../stand/workload.ts'

const CLIENTS = 16
const OTHERS = [1, 4, 64]
const ROUNDS = 4
const LOAD = { warmUpMs: 500, measureMs: 2_000 }
const SHORT = { warmUpMs: 300, measureMs: 1_000 }
const TUNING: Tuning = { routes: { 'order.placed': ['billing'] }, wakeUps: false }
const limit = plain('publish-tx')

/**
 * BEGIN; insert the order; publish one message about it; COMMIT, each waited for, on 1 to 64 connections of one process, while
 * nobody consumes. The limit inserts a row in place of publishing.
 */
export const publishTx: Workload = {
  name: 'publish.tx',
  goals: [
    {
      name: 'publish.tx.16',
      unit: 'transactions/s',
      measure: { kind: 'share-of-baseline', target: 0.9, ofBestPeer: 2 },
    },
  ],
  deadlineMs: 240_000,
  quick: true,
  async run(bench) {
    const { able: peers, unable } = await able(['publish-in-transaction'])
    const main = await at(bench, peers, CLIENTS, bench.quick ? 2 : ROUNDS, bench.quick ? SHORT : LOAD)
    const others: Record<number, Awaited<ReturnType<typeof at>>> = {}
    for (const clients of bench.quick ? [] : OTHERS) others[clients] = await at(bench, peers, clients, 2, SHORT)
    const all = { ...others, [CLIENTS]: main }
    return {
      measured: [measuredOf('publish.tx.16', main, unable)],
      report: {
        clients: Object.fromEntries(Object.entries(all).map(([clients, runs]) => [clients, toldRounds(runs, unable)])),
        plots: [plotOf(all)],
      },
    }
  },
}

async function at(bench: Bench, peers: readonly Peer[], clients: number, count: number, load: LoadOptions) {
  bench.say(`publish.tx, ${clients} clients`)
  const sides = await Promise.all(peers.map((peer) => sideOf(bench, peer, clients, load)))
  return await rounds(bench, count, sides)
}

async function sideOf(bench: Bench, peer: Peer, count: number, load: LoadOptions): Promise<Side> {
  const template = await installed(bench, peer, TUNING)
  return {
    peer,
    async run() {
      const database = await bench.database(template)
      const clients = await bench.clients(database, count)
      const publisher = await peer.publisher(bench.urlOf(database), TUNING)
      const rate = await closedLoop(clients, load, (client) => order(client, publisher))
      await publisher.close()
      release(clients)
      await bench.drop(database)
      return rate
    },
  }
}

/** The order and its message, in one transaction. */
export async function order(client: pg.PoolClient, publisher: Publisher): Promise<void> {
  const placed = { orderId: randomUUID(), cents: 4_200, country: 'NL' }
  await client.query('begin')
  await client.query({ ...limit('insert_order'), values: [placed.orderId, placed.cents, placed.country] })
  await publisher.publish(client, 'order.placed', placed)
  await client.query('commit')
}

function plotOf(all: Record<number, Awaited<ReturnType<typeof at>>>): Plot {
  return {
    name: 'publish-tx',
    title: 'An order and its message in one transaction',
    kind: 'lines',
    x: 'clients',
    y: 'transactions/s',
    logarithmic: true,
    rows: Object.entries(all).flatMap(([clients, { runs }]) =>
      Object.entries(runs).map(([side, values]) => ({ side, x: Number(clients), y: median(values) })),
    ),
  }
}
