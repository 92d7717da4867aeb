import { createPostgresBackend, runMigrations, withBackend } from 'bullmq'
import pg from 'pg'
import { type Order, type Peer, versionOf } from '../stand/peer.ts'

const { Queue, Worker } = withBackend(createPostgresBackend)
const PUBLISHERS = 16
const RETRIES = { attempts: 5, backoff: { type: 'fixed', delay: 1_000 } }

export const peer: Peer = {
  name: 'bullmq',
  version: versionOf('bullmq'),
  settings: {
    backend: 'createPostgresBackend',
    publish: `queue.add and queue.addBulk, on a pool of its own of ${PUBLISHERS}`,
    consume:
      'new Worker(queue, handle, { concurrency: connections, removeOnComplete: { count: 0 } }) on a pool of so many connections',
    effect: "an insert on the service's pool, committed by itself; the job is completed after it",
    fanOut: 'no queues to bind: one add for each, written by the publisher',
  },
  effect: 'at least once',
  cannot: {
    'publish-in-transaction': 'Queue.add uses a connection of its own: there is no way to say in which transaction',
    silent: 'add notifies, and nothing turns it off',
  },
  async install(url) {
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    const client = await pool.connect()
    await runMigrations(client)
    client.release()
    await pool.end()
  },
  async publisher(url, { routes }) {
    const names = [...new Set(Object.values(routes).flat())]
    const queues = new Map(names.map((name) => [name, queueOf(name, url)]))
    await Promise.all([...queues.values()].map((queue) => queue.waitUntilReady()))
    return {
      async publish(_client, topic, order, options) {
        const jobOptions = { ...RETRIES, ...(options?.delayMs && { delay: options.delayMs }) }
        await Promise.all(routes[topic]!.map((name) => queues.get(name)!.add(topic, order, jobOptions)))
      },
      async publishAll(_client, topic, orders) {
        const jobs = orders.map((data) => ({ name: topic, data, opts: RETRIES }))
        await Promise.all(routes[topic]!.map((name) => queues.get(name)!.addBulk(jobs)))
      },
      async close() {
        await Promise.all([...queues.values()].map((queue) => queue.close()))
      },
    }
  },
  async work(url, { queues, connections }, handle) {
    const pool = new pg.Pool({ connectionString: url, max: connections })
    pool.on('error', () => {})
    const workers = queues.map((queue) => {
      const worker = new Worker<Order>(
        queue,
        async ({ data }) => {
          await handle(data, (statement, values) => pool.query({ ...statement, values: [...values] }), queue)
        },
        {
          connection: { connectionString: url, max: connections },
          concurrency: connections,
          removeOnComplete: { count: 0 },
        },
      )
      worker.on('error', () => {})
      return worker
    })
    await Promise.all(workers.map((worker) => worker.waitUntilReady()))
    return {
      async stop() {
        await Promise.all(workers.map((worker) => worker.close(true)))
        await pool.end()
      },
    }
  },
}

function queueOf(name: string, url: string) {
  const queue = new Queue<Order>(name, { connection: { connectionString: url, max: PUBLISHERS } })
  queue.on('error', () => {})
  return queue
}
