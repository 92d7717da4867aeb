import { AsyncLocalStorage } from 'node:async_hooks'
import type { PgClient, PgPool } from './pool.ts'

interface Offer {
  readonly pool: object
  client: PgClient | undefined
}

type Callback = (error: Error | undefined, client: PgClient, release: (error?: Error | boolean) => void) => void

const offers = new AsyncLocalStorage<Offer>()
const taught = new WeakSet<object>()

/**
 * Lets a library begin its transaction on a client of ours: the first one that it takes from this pool, within the work, is this.
 * For everybody else, and for everything after it, the pool is as it was.
 */
export function handOver<Result>(pool: PgPool, client: PgClient, work: () => Promise<Result>): Promise<Result> {
  teach(pool)
  return offers.run({ pool, client }, work)
}

function teach(pool: PgPool): void {
  if (taught.has(pool)) return
  taught.add(pool)
  const connect = pool.connect as (callback?: Callback) => unknown
  const handingOver = function (this: unknown, callback?: Callback): unknown {
    const client = accept(pool)
    if (client === undefined) return connect.call(pool, callback)
    if (callback === undefined) return Promise.resolve(client)
    process.nextTick(callback, undefined, client, client.release)
    return undefined
  }
  Object.defineProperty(pool, 'connect', { value: handingOver, configurable: true, writable: true })
}

function accept(pool: object): PgClient | undefined {
  const offer = offers.getStore()
  if (offer?.pool !== pool) return undefined
  const { client } = offer
  offer.client = undefined
  return client
}
