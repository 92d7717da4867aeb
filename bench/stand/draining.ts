import type { Bench } from './bench.ts'
import { pause } from './load.ts'
import type { Handle, Peer, Tuning } from './peer.ts'
import { plain } from './plain.ts'

const WARM_UP = 0.1
const EVERY_MS = 5
const SILENCE_MS = 10_000
const effect = plain('effect')

export interface DrainingOptions {
  /** A database with a backlog, to be cloned. */
  readonly backlog: string
  readonly messages: number
  readonly connections: number
  /** One insert for every message, or nothing. */
  readonly effect: boolean
  readonly batches?: boolean
  /** What is left after so long is left. */
  readonly atMostMs: number
}

/** How many messages a second a peer hands to a handler from a backlog; its first tenth, or second, is warm-up. */
export async function draining(bench: Bench, peer: Peer, tuning: Tuning, options: DrainingOptions): Promise<number> {
  const database = await bench.database(options.backlog)
  let handled = 0
  const noop: Handle = () => {
    handled += 1
  }
  const insert: Handle = async ({ orderId, cents }, sql) => {
    await sql(effect('insert_effect'), [orderId, cents])
    handled += 1
  }
  const { routes, wakeUps } = tuning
  const queues = [...new Set(Object.values(routes).flat())]
  const work = await peer.work(
    bench.urlOf(database),
    {
      routes,
      wakeUps,
      queues,
      connections: options.connections,
      effects: options.effect,
      batches: options.batches === true,
    },
    options.effect ? insert : noop,
  )
  const rate = await rateOf(() => handled, options)
  await work.stop()
  await bench.drop(database)
  return rate
}

interface Mark {
  readonly at: number
  readonly handled: number
}

async function rateOf(count: () => number, { messages, atMostMs }: DrainingOptions): Promise<number> {
  const startedAt = performance.now()
  let from: Mark | undefined
  let last: Mark = { at: startedAt, handled: 0 }
  for (;;) {
    await pause(EVERY_MS)
    const mark = { at: performance.now(), handled: count() }
    if (mark.handled > last.handled) last = mark
    const warm = mark.handled >= messages * WARM_UP || mark.at - startedAt >= atMostMs / 3
    if (!from && warm && mark.handled > 0) from = mark
    if (mark.handled >= messages || mark.at - startedAt >= atMostMs) break
    if (mark.at - last.at > SILENCE_MS)
      throw new Error(`Cannot drain: nothing for ${SILENCE_MS} ms after ${last.handled} of ${messages} messages`)
  }
  if (!from || last.at <= from.at) throw new Error(`Cannot drain: ${last.handled} of ${messages} in ${atMostMs} ms`)
  return ((last.handled - from.handled) * 1_000) / (last.at - from.at)
}
