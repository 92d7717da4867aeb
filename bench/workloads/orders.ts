import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Invoice, readInvoices } from '../../examples/online-retail/invoices.ts'
import type { Bench } from '../stand/bench.ts'
import { clock } from '../stand/clock.ts'
import { installed } from '../stand/filled.ts'
import { until } from '../stand/load.ts'
import type { Order, Peer, Tuning } from '../stand/peer.ts'
import { plain } from '../stand/plain.ts'
import { DUAL_WRITE } from '../stand/publishing.ts'
import { able } from '../stand/rounds.ts'
import { percentile } from '../stand/runs.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const FILE = 'shared/data/online-retail-2010-12.csv.gz'
const ABOVE = ['../../../', '../../../../', '../../../../../']
const TIMES = 3
const CLIENTS = 8
const SERVICES = ['billing', 'shipping', 'stock']
const TUNING: Tuning = { routes: { 'order.placed': SERVICES }, wakeUps: true }
const insertOrder = plain('publish-tx')('insert_order')

/**
 * The invoices of a month of a real shop, with all their lines, placed on 8 connections and handled by three services, each a
 * process of its own with one insert as effect: orders a second until the last is handled by all, and from COMMIT to each handler.
 */
export const orders: Workload = {
  name: 'orders',
  goals: [],
  deadlineMs: 300_000,
  async run(bench) {
    const file = ABOVE.map((up) => fileURLToPath(new URL(up + FILE, import.meta.url))).find(existsSync)
    if (!file) return { measured: [], report: { reason: `there is no ${FILE} beside the project` } }
    const invoices = await readInvoices(file)
    const { able: peers, unable } = await able(['wake-up'])
    const figures: Record<string, Awaited<ReturnType<typeof placing>>> = {}
    for (const peer of peers) {
      figures[peer.name] = await placing(bench, peer, invoices)
      bench.say(`  ${peer.name}: ${JSON.stringify(figures[peer.name])}`)
    }
    return {
      measured: [],
      report: {
        orders: invoices.length * TIMES,
        services: SERVICES,
        figures: { ...figures, ...unable },
        plots: [
          {
            name: 'orders',
            title: 'Real orders through three services',
            kind: 'bars',
            x: 'side',
            y: 'orders/s',
            rows: Object.entries(figures).map(([side, { perSecond }]) => ({ side, x: side, y: perSecond })),
          },
        ],
      },
    }
  },
}

async function placing(bench: Bench, peer: Peer, invoices: readonly Invoice[]) {
  const database = await installed(bench, peer, TUNING)
  const handled = new Map<string, number[]>()
  let deliveries = 0
  const workers = await Promise.all(
    SERVICES.map((service) =>
      bench.worker(
        database,
        peer,
        { ...TUNING, queues: [service], connections: 4, effects: true },
        { effect: true, tell: true },
      ),
    ),
  )
  for (const worker of workers)
    worker.onHandled((orderId, at) => {
      handled.set(orderId, [...(handled.get(orderId) ?? []), at])
      deliveries += 1
    })
  const publisher = await peer.publisher(bench.urlOf(database), TUNING)
  const clients = await bench.clients(database, CLIENTS)
  const total = bench.quick ? 500 : invoices.length * TIMES
  const sent = new Map<string, number>()
  let next = 0
  const startedAt = performance.now()
  await Promise.all(
    clients.map(async (client) => {
      while (next < total) {
        const n = next
        next += 1
        const order = orderOf(n, invoices[n % invoices.length]!)
        await client.query('begin')
        await client.query({ ...insertOrder, values: [uuidOf(n), order.cents, order.country] })
        if (peer.cannot['publish-in-transaction']) await client.query('commit')
        if (!peer.cannot['publish-in-transaction']) await publisher.publish(client, 'order.placed', order)
        sent.set(order.orderId, clock())
        if (peer.cannot['publish-in-transaction']) await publisher.publish(client, 'order.placed', order)
        else await client.query('commit')
      }
    }),
  )
  const placedMs = performance.now() - startedAt
  await until('all is handled', () => deliveries >= total * SERVICES.length, { timeoutMs: 120_000 })
  const elapsedMs = performance.now() - startedAt
  const latencies = [...sent].flatMap(([orderId, at]) => handled.get(orderId)!.map((then) => then - at))
  await publisher.close()
  for (const client of clients) client.release(true)
  await Promise.all(workers.map((worker) => worker.stop()))
  await bench.drop(database)
  return {
    perSecond: rounded((total * 1_000) / elapsedMs),
    placedPerSecond: rounded((total * 1_000) / placedMs),
    p50: rounded(percentile(latencies, 0.5)),
    p99: rounded(percentile(latencies, 0.99)),
    ...(peer.cannot['publish-in-transaction'] && { note: DUAL_WRITE }),
  }
}

function orderOf(n: number, { number, cents, country, lines }: Invoice): Order {
  return {
    orderId: `${number}-${n}`,
    cents,
    country,
    lines: lines.map(({ stockCode, description, quantity, cents }) => ({ stockCode, description, quantity, cents })),
  }
}

function uuidOf(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`
}
