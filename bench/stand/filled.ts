import { pgDatabase } from '../../src/index.ts'
import { routeAll } from './backlog.ts'
import type { Bench } from './bench.ts'
import { type Order, OURS, type Peer, PLAIN, type Tuning } from './peer.ts'
import { plain } from './plain.ts'
import { runOn } from './server.ts'

const AT_ONCE = 1_000
const PUBLISHERS = 2
const CHUNK = 5_000
const EMPTY = 'template1'
const limit = plain('drain-noop')
const publishing = plain('publish-tx')
const effect = plain('effect')

/** A database in which a peer is installed, with the tables of the business beside it; to be cloned. */
export async function installed(bench: Bench, peer: Peer, tuning: Tuning): Promise<string> {
  const database = await bench.database(EMPTY)
  await peer.install(bench.urlOf(database), tuning)
  await runOn(bench.urlOf(database), effect('set_up').text)
  if (peer.name !== PLAIN) await runOn(bench.urlOf(database), publishing('set_up').text)
  return database
}

/** The same with so many messages that are ready to be consumed, through the peer's own call for many; vacuumed and analysed. */
export async function filled(bench: Bench, peer: Peer, tuning: Tuning, messages: number): Promise<string> {
  const database = await installed(bench, peer, tuning)
  const [topic] = Object.keys(tuning.routes)
  if (peer.name === PLAIN) await fillPlain(bench, database, messages)
  else await publishMany(bench, peer, tuning, database, topic!, messages)
  await makeReady(bench, peer, database)
  await runOn(bench.urlOf(database), 'vacuum analyze')
  return database
}

/** What is published is in its queues: ours has a router for that, which peers do not need. */
export async function makeReady(bench: Bench, peer: Peer, database: string): Promise<number> {
  if (peer.name !== OURS) return 0
  const pool = bench.pool(database, 1)
  const deliveries = await routeAll(pgDatabase(pool), CHUNK)
  await bench.end(pool)
  return deliveries
}

export async function publishMany(
  bench: Bench,
  peer: Peer,
  tuning: Tuning,
  database: string,
  topic: string,
  messages: number,
): Promise<void> {
  const clients = await bench.clients(database, PUBLISHERS)
  const publisher = await peer.publisher(bench.urlOf(database), { ...tuning, wakeUps: false })
  let next = 0
  await Promise.all(
    clients.map(async (client) => {
      while (next < messages) {
        const from = next
        const to = Math.min(from + AT_ONCE, messages)
        next = to
        await client.query('begin')
        await publisher.publishAll(client, topic, orders(from, to))
        await client.query('commit')
      }
    }),
  )
  for (const client of clients) client.release(true)
  await publisher.close()
}

export function orders(from: number, to: number): Order[] {
  return Array.from({ length: to - from }, (_, i) => orderOf(from + i))
}

export function orderOf(n: number): Order {
  return { orderId: String(n), cents: 4_200, country: 'NL' }
}

async function fillPlain(bench: Bench, database: string, messages: number): Promise<void> {
  const pool = bench.pool(database, 1)
  await pool.query(limit('fill').text, [messages, JSON.stringify(orderOf(12_345))])
  await bench.end(pool)
}
